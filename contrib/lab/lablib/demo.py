# SPDX-License-Identifier: BSD-3-Clause
"""`lab demo`: two hosts; UCX's transport bulk beside rc_verbs and tcp; an MPI program; a table; one line.

The three run the same ucx_perftest tests in turns, round after round, so that whatever else this machine
does meanwhile hits all of them; what is shown is the median of the rounds. All of it runs on software
RDMA between virtual machines: the columns compare with each other, not with real hardware."""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import pair, term
from .programs import TESTS
from .session import Session

_LIMIT = 60  # seconds for one test
_FABRIC = "fabric0"
_DEVICE = "rxe0"
_COUNTERS = "/sys/class/misc/rdma_bulk"


@dataclass(frozen=True)
class Test:
    """One ucx_perftest test."""

    name: str
    size: int
    count: int
    label: str

    @property
    def is_latency(self) -> bool:
        return self.name.endswith("_lat")

    @property
    def unit(self) -> str:
        return "us" if self.is_latency else "MiB/s"


TESTS_TO_RUN = [
    Test("tag_lat", 8, 100, "tag_lat 8 B"),
    Test("tag_bw", 65536, 300, "tag_bw 64 KiB"),
    Test("tag_bw", 1 << 20, 30, "tag_bw 1 MiB"),
    Test("ucp_put_bw", 1 << 20, 30, "ucp_put_bw 1 MiB"),
    Test("ucp_get", 1 << 20, 20, "ucp_get 1 MiB"),
    Test("ucp_am_bw", 65536, 300, "ucp_am_bw 64 KiB"),
]
_WARM_UP = 3


@dataclass
class Contender:
    """A transport: UCX's environment for it, the wrapper its programs need, and what was measured."""

    name: str
    environment: dict[str, str]
    wrapper: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, test: Test) -> float | None:
        """The median of the rounds; none if a round failed."""
        if test.label in self.failures or not self.values.get(test.label):
            return None
        return statistics.median(self.values[test.label])


def gid_index(session: Session) -> int:
    """The adapter's RoCE v2 GID of its IPv4 address."""
    status, text = session.output(1, f"cd /sys/class/infiniband/{_DEVICE}/ports/1 && for i in 0 1 2 3 4 5 6 7; do "
                                     "echo $i $(cat gids/$i) $(cat gid_attrs/types/$i 2>/dev/null); done", timeout=60)
    for line in text.splitlines():
        if "0000:0000:0000:0000:0000:ffff:" in line and line.endswith("RoCE v2"):
            return int(line.split()[0])
    raise term.LabError(f"{_DEVICE} has no RoCE v2 GID with an IPv4 address (status {status})\n{text}")


def contenders(gid: int) -> list[Contender]:
    """rc_verbs cannot set up a connection by itself; tcp does only that for it (`:aux`)."""
    return [
        Contender("bulk", {"UCX_TLS": "bulk,self"}, ["bulk-run"]),
        Contender("rc_verbs", {"UCX_TLS": "rc_verbs,tcp:aux,self", "UCX_NET_DEVICES": f"{_DEVICE}:1,{_FABRIC}",
                               "UCX_IB_GID_INDEX": str(gid)}),
        Contender("tcp", {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": _FABRIC}),
    ]


# What a newcomer has to know of the table.
_READING = [
    "The peer to look at is rc_verbs, which goes the same way. That tcp is faster says nothing about adapters: the RDMA device",
    "is software here (rxe), which sends packets of 4 KiB, where the kernel's TCP hands over 64 KiB at a time.",
]


class Demo:
    """One run of `lab demo` on the hosts of `session`."""

    def __init__(self, session: Session, logs: Path, rounds: int) -> None:
        self.session = session
        self.logs = logs
        self.rounds = rounds
        self.failed: list[str] = []
        self._port = 14000

    def run(self) -> None:
        self._info()
        who = contenders(gid_index(self.session))
        before = self._counters()
        self._perftest(who)
        self._counted(who, before, self._counters())
        self._mpi()
        print(table(who), flush=True)

    def _fail(self, what: str, text: str = "") -> None:
        self.failed.append(what)
        term.warn(f"FAILED: {what}" + (f"\n{text}" if text else ""))

    # -- steps

    def _info(self) -> None:
        term.say("ucx_info -d: the transport as UCX sees it")
        status, text = self.session.output(1, "UCX_WARN_UNUSED_ENV_VARS=n bulk-run ucx_info -d", timeout=120)
        (self.logs / "ucx_info").write_text(text)
        lines = text.splitlines()
        start = next((number for number, line in enumerate(lines) if line.startswith("#") and "Transport: bulk" in line), None)
        if status != 0 or start is None:
            self._fail("ucx_info -d shows no transport bulk", "\n".join(
                "    " + line for line in lines if "bulk" in line or "WARN" in line or "ERROR" in line))
            return
        end = next((number for number in range(start + 1, len(lines)) if "Transport:" in lines[number]
                    or "Memory domain:" in lines[number]), len(lines))
        while start > 0 and "Memory domain:" not in lines[start] and "Transport:" not in lines[start - 1]:
            start -= 1
        print("\n".join(lines[start:end]), flush=True)

    def _perftest(self, who: list[Contender]) -> None:
        for turn in range(1, self.rounds + 1):
            for test in TESTS_TO_RUN:
                shown = []
                for contender in who:
                    value, why = self._one(contender, test, turn)
                    if value is None:
                        # What failed once is not tried again: its time limit would only be spent again.
                        contender.failures.setdefault(test.label, why)
                        shown.append(f"{contender.name} failed")
                    else:
                        contender.values.setdefault(test.label, []).append(value)
                        shown.append(f"{contender.name} {value:.1f}")
                term.say(f"round {turn}/{self.rounds}  {test.label} ({test.unit}): {', '.join(shown)}")
        for contender in who:
            for label, why in contender.failures.items():
                self._fail(f"{contender.name}: {label}: {why.splitlines()[0]}", "\n".join(why.splitlines()[1:]))

    def _one(self, contender: Contender, test: Test, turn: int) -> tuple[float | None, str]:
        """One test between the hosts: its overall figure, or why there is none."""
        if test.label in contender.failures:
            return None, ""
        self._port += 1
        prefix = [*pair.environment({"UCX_WARN_UNUSED_ENV_VARS": "n", **contender.environment}), *contender.wrapper]
        common = [*prefix, "ucx_perftest", "-P", "0", "-p", str(self._port)]
        client = [*common, "10.77.0.2", "-t", test.name, "-s", str(test.size), "-n", str(test.count), "-w", str(_WARM_UP), "-f", "-v"]
        log = self.logs / f"perftest-{contender.name}-{test.label.replace(' ', '-')}-{turn}"
        ended = pair.run(self.session, common, client, self._port, _LIMIT, log)
        rows = perftest_rows(ended.client)
        if ended.status != 0 or not rows:
            return None, "ucx_perftest: " + ended.reason(_LIMIT)
        return float(rows[-1][3 if test.is_latency else 5]), ""

    def _counters(self) -> dict[str, int] | None:
        """The sum over both hosts of each of the module's byte counters."""
        names = ("tx_bytes", "put_bytes", "get_bytes")
        total = dict.fromkeys(names, 0)
        for status, text in self.session.on_all(f"cd {_COUNTERS} && grep -H . {' '.join(names)}", timeout=60).values():
            if status != 0:
                return None
            for line in text.splitlines():
                name, _, value = line.partition(":")
                total[name] += int(value)
        return total

    def _counted(self, who: list[Contender], before: dict[str, int] | None, after: dict[str, int] | None) -> None:
        """Show by the module's own counters that the bytes of the bulk column went over it."""
        moved = sum(test.size * test.count * len(who[0].values.get(test.label, [])) for test in TESTS_TO_RUN)
        if before is None or after is None:
            self._fail("the counters of rdma_bulk cannot be read")
            return
        grown = {name: after[name] - before[name] for name in after}
        line = ", ".join(f"{name} +{value}" for name, value in grown.items())
        if moved and sum(grown.values()) >= moved:
            term.say(f"rdma_bulk's counters: {line}; ucx_perftest moved {moved} bytes over it")
        else:
            self._fail(f"rdma_bulk's counters ({line}) do not show the {moved} bytes that ucx_perftest moved over it")

    def _mpi(self) -> None:
        term.say("mpi_check: two ranks on each of two hosts, started by mpirun over ssh")
        started = time.monotonic()
        status, text = self.session.output(1, ["timeout", "-k", "10", "600", f"{TESTS}/sys-mpi"], timeout=640)
        (self.logs / "mpi").write_text(text)
        lines = text.splitlines()
        good = sum(line.startswith("ok ") for line in lines)
        print("\n".join("    " + line for line in lines if line.startswith(("ok ", "not ok ")) or "bytes left" in line), flush=True)
        if status == 0 and good:
            term.say(f"MPI: {good} checks passed, {time.monotonic() - started:.0f} s")
        else:
            self._fail(f"MPI (status {status})", "\n".join("    " + line for line in lines[-20:]))


def perftest_rows(text: str) -> list[list[str]]:
    """The lines with figures that `ucx_perftest -v` prints, in columns."""
    return [line.split(",") for line in text.splitlines() if line.strip()[:1].isdigit() and line.count(",") == 7]


def table(who: list[Contender]) -> str:
    """Medians and what they are of bulk's."""
    first = who[0]
    rows = [["median of rounds", "unit", *(one.name for one in who), *(f"{first.name}/{one.name}" for one in who[1:])]]
    for test in TESTS_TO_RUN:
        medians = [one.median(test) for one in who]
        cells = ["failed" if value is None else f"{value:.1f}" for value in medians]
        ratios = [f"{medians[0] / value:.2f}" if medians[0] is not None and value else "-" for value in medians[1:]]
        rows.append([test.label, test.unit, *cells, *ratios])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) if column < 2 else cell.rjust(width)
                       for column, (cell, width) in enumerate(zip(row, widths))) for row in rows]
    rule = "-" * len(lines[0])
    return "\n".join(["", lines[0], rule, *lines[1:], rule, "latency: less is better; bandwidth: more is better", "", *_READING])


def run(session: Session, logs: Path, options: argparse.Namespace) -> list[str]:
    """The demo; returns what failed."""
    demo = Demo(session, logs, options.rounds)
    demo.run()
    return demo.failed
