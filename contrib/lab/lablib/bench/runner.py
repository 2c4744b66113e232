# SPDX-License-Identifier: BSD-3-Clause
"""Rounds of measurements: within a row the contenders take turns, and all rows are done before the next round."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from .. import pair, term
from ..session import Session
from .plan import LONGER, Contender, Job, Metrics, Row

_TICK = os.sysconf("SC_CLK_TCK")
STRANGE = 0.15  # of one processor, used by programs that are not ours: the machine is disturbed

# Runs on a host while processes grow: queue pairs, kernel memory, pinned memory, twice a second.
_SAMPLER = r"""
while :; do
    echo "$(rdma resource show qp | wc -l) $(awk '/^MemFree|^Buffers|^Cached:/{f+=$2} /^Slab/{s=$2} /^Mlocked/{m=$2} END{print f, s, m}' /proc/meminfo)"
    sleep 0.5
done
"""


@dataclass(frozen=True)
class Sample:
    round: int
    row: str
    contender: str
    metric: str
    value: float


class Watch:
    """How much of this machine's processors others than the lab have used since `start`."""

    def __init__(self, session: Session) -> None:
        self._pids = [host.pid for host in session.hosts] + [os.getpid()]
        self.start()

    def start(self) -> None:
        self._began = time.monotonic()
        self._busy, self._ours = self._read()

    def strange(self) -> float:
        """Processors in use by others, on average."""
        busy, ours = self._read()
        return max(0.0, ((busy - self._busy) - (ours - self._ours)) / _TICK / max(time.monotonic() - self._began, 0.001))

    def _read(self) -> tuple[float, float]:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        idle = float(words[3]) + float(words[4])
        return sum(map(float, words[:8])) - idle, sum(_used(self._pids))


def _used(roots: Sequence[int]) -> Iterator[float]:
    """Ticks of processor time of these processes and of those that they have started, with their ended children: a
    host of user-mode Linux is many processes."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(map(float, fields[11:15]))
    for pid in used:
        above = pid
        while above not in roots and above in parents:
            above = parents[above]
        if above in roots:
            yield used[pid]


class Runner:
    """One bench on the hosts of `session`."""

    def __init__(self, session: Session, logs: Path, contenders: dict[str, Contender], keep_going: float) -> None:
        self.session = session
        self.logs = logs
        self.contenders = contenders
        self.samples: list[Sample] = []
        self.failures: dict[tuple[str, str], str] = {}
        self.disturbed: list[str] = []
        self._end = time.monotonic() + keep_going
        self._port = 14000
        self.rounds = 0

    def run(self, rows: list[Row], rounds: int) -> None:
        """All rounds, or as many as the time given lasts for; one that was begun is ended."""
        watch = Watch(self.session)
        for turn in range(1, rounds + 1):
            if turn > 1 and time.monotonic() > self._end:
                term.warn(f"the time given is over after {turn - 1} of {rounds} rounds")
                break
            watch.start()
            for number, row in enumerate(rows, 1):
                self._row(row, turn, f"round {turn}/{rounds}, {number}/{len(rows)}")
            self.rounds = turn
            if (strange := watch.strange()) > STRANGE:
                self.disturbed.append(f"round {turn}: {strange:.2f} processors of this machine were used by others")
                term.warn(self.disturbed[-1])

    def _row(self, row: Row, turn: int, where: str) -> None:
        shown = []
        for name in row.jobs:
            if (row.name, name) in self.failures:
                continue  # what failed once is not tried again: its time limit would only be spent again
            values, why = self._measure(row, name, turn)
            missing = [metric for metric in row.metrics if metric not in values]
            if missing:
                self.failures[row.name, name] = why or f"gave no {', '.join(missing)}"
                shown.append(f"{name} failed")
                continue
            self.samples += [Sample(turn, row.name, name, metric, values[metric]) for metric in row.metrics]
            shown.append(f"{name} {values[row.metrics[0]]:.4g}")
        term.say(f"{where}  {row.name} ({row.unit or row.metrics[0]}): {', '.join(shown)}")

    def _measure(self, row: Row, name: str, turn: int) -> tuple[Metrics, str]:
        if row.cpu:
            return self._processor_time(row, name, turn)
        if row.group == "growth":
            return self._grow(row, name, turn)
        return self._pair(row, row.jobs[name](self._next_port()), name, turn)

    def _next_port(self) -> int:
        self._port += 1
        return self._port

    def _log(self, row: Row, name: str, turn: int, what: str = "") -> Path:
        return self.logs / re.sub(r"[^\w.-]+", "-", f"{row.name}-{name}{what}-{turn}")

    def _pair(self, row: Row, job: Job, name: str, turn: int, what: str = "") -> tuple[Metrics, str]:
        log = self._log(row, name, turn, what)
        prefix = pair.environment(job.environment)
        if not job.server:
            status, text = self.session.output(1, ["timeout", "-k", "5", str(int(job.limit)), *prefix, *job.client], timeout=job.limit + 30)
            ended = pair.Ended(status, text, "")
            Path(f"{log}.client").write_text(text)
        else:
            ended = pair.run(self.session, [*prefix, *job.server], [*prefix, *job.client], self._port, job.limit, log,
                             server_host=1 if job.local else 2)
        return (job.parse(ended.client), "") if ended.status == 0 else ({}, ended.reason(job.limit))

    # -- processor time

    def _busy(self) -> float:
        """Seconds of processors that both hosts have taken, as this machine counts them: the hosts' own clocks
        tick too rarely to see the short work of those who sleep in between."""
        total = 0.0
        for host in self.session.hosts:
            fields = Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()
            total += (float(fields[11]) + float(fields[12])) / _TICK
        return total

    def _processor_time(self, row: Row, name: str, turn: int) -> tuple[Metrics, str]:
        """What LONGER times as many operations take more: start and end of the programs do not count, unless
        they run for the first time."""
        spent = []
        warm_up = [(row.jobs, "-warm-up")] if turn == 1 else []
        for jobs, what in (*warm_up, (row.jobs, "-short"), (row.longer, "-long")):
            before = self._busy()
            values, why = self._pair(row, jobs[name](self._next_port()), name, turn, what)
            if not values:
                return {}, why
            spent.append(self._busy() - before)
        more = (LONGER - 1) * row.operations * row.size / (1 << 30)
        return {"cpu": (spent[-1] - spent[-2]) / more}, ""

    # -- growth

    def _grow(self, row: Row, name: str, turn: int) -> tuple[Metrics, str]:
        """Queue pairs and memory of host 1 at their peak, against what was there before."""
        samples = f"/tmp/bench-{self._port}"
        self.session.output(1, f"nohup sh -c {shlex.quote(_SAMPLER)} >{samples} 2>/dev/null </dev/null & echo $! >{samples}.pid; sleep 1.5", timeout=60)
        values, why = self._pair(row, row.jobs[name](self._next_port()), name, turn)
        _, text = self.session.output(1, f"kill $(cat {samples}.pid); cat {samples}; rm -f {samples} {samples}.pid", timeout=60)
        seen = [[float(word) for word in line.split()] for line in text.splitlines() if len(line.split()) == 4]
        if not values or len(seen) < 2:
            return {}, why or "nothing was seen"
        first = seen[0]
        return {**values, "queue_pairs": max(line[0] for line in seen) - first[0],
                "memory": (first[1] - min(line[1] for line in seen)) / 1024,
                "pinned": (max(line[3] for line in seen) - first[3]) / 1024}, ""
