# SPDX-License-Identifier: BSD-3-Clause
"""Who is measured, and by which commands.

A row is one question; each contender that can answer it brings a pair of commands. Contenders of one row
are alike: those that poll, or those that sleep, as the row says; the same sizes, the same window."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable

from ..programs import TESTS
from ..demo import perftest_rows

SERVER = "10.77.0.2"
_DEVICE = "rxe0"
_FABRIC = "fabric0"
_WINDOW = 16  # operations under way, of every contender in rows of bandwidth
_BYTES = 24 << 20  # moved by one measurement of bandwidth, at most
_BYTES_LARGE = 64 << 20  # the same with operations of 1 MiB and more
_MESSAGE = 8256  # bytes of one message of a channel, at most
_OPERATIONS = 2000  # of one measurement, at most
LONGER = 4  # times as many operations, for processor time

Metrics = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """A way to move data. `environment` is printed with the results."""

    name: str
    kind: str  # ucx, verbs, rds, channel, mpi
    environment: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    sleeps: bool = False
    local: bool = False  # both ends on host 1


@dataclass(frozen=True)
class Job:
    """The commands of one measurement, and how to read what the client prints. `port` is the server's."""

    server: list[str]
    client: list[str]
    parse: Callable[[str], Metrics]
    environment: dict[str, str]
    limit: float = 90
    local: bool = False


@dataclass
class Row:
    """One question. `jobs` makes each contender's commands for a port."""

    name: str
    group: str
    unit: str
    metrics: tuple[str, ...]
    less_is_better: bool
    jobs: dict[str, Callable[[int], Job]] = field(default_factory=dict)
    operations: int = 0
    size: int = 0
    cpu: bool = False  # processor time is measured, too: by this job and one LONGER times the length
    longer: dict[str, Callable[[int], Job]] = field(default_factory=dict)


def contenders(gid_index: int) -> dict[str, Contender]:
    """All of them, by name."""
    gid = {"UCX_IB_GID_INDEX": str(gid_index)}
    # rc_verbs and ud_verbs: what a user would set on RoCE; tcp only sets up rc_verbs' connections (`:aux`).
    rc = {"UCX_TLS": "rc_verbs,tcp:aux,self", "UCX_NET_DEVICES": f"{_DEVICE}:1,{_FABRIC}", **gid}
    bulk = {"UCX_TLS": "bulk,self"}
    polling = {**bulk, "UCX_BULK_IDLE_SLEEP": "off"}
    no_hooks = {"UCX_MEM_EVENTS": "n"}  # malloc, munmap, ... are not watched, so that no registration can be kept
    who = [
        Contender("bulk", "ucx", polling, ("bulk-run",)),
        Contender("bulk-default", "ucx", bulk, ("bulk-run",)),
        Contender("rc_verbs", "ucx", rc),
        Contender("rc_verbs-rx256", "ucx", {**rc, "UCX_RC_VERBS_RX_QUEUE_LEN": "256"}),
        Contender("ud_verbs", "ucx", {"UCX_TLS": "ud_verbs,self", "UCX_NET_DEVICES": f"{_DEVICE}:1", **gid}),
        Contender("tcp", "ucx", {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": _FABRIC}),
        Contender("ucx-default", "ucx", {"UCX_NET_DEVICES": f"{_DEVICE}:1,{_FABRIC}", **gid}),
        Contender("bulk-nohooks", "ucx", {**bulk, **no_hooks}, ("bulk-run",)),
        Contender("rc_verbs-nohooks", "ucx", {**rc, **no_hooks}),
        Contender("bulk-sleep", "ucx", bulk, ("bulk-run",), sleeps=True),
        Contender("rc_verbs-sleep", "ucx", rc, sleeps=True),
        Contender("tcp-sleep", "ucx", {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": _FABRIC}, sleeps=True),
        Contender("bulk-local", "ucx", polling, ("bulk-run",), local=True),
        Contender("sm-local", "ucx", {"UCX_TLS": "sm,self"}, local=True),
        Contender("verbs", "verbs", {"gid": str(gid_index)}),
        Contender("verbs-e", "verbs", {"gid": str(gid_index)}, sleeps=True),
        Contender("rds", "rds"),
        Contender("rds-sleep", "rds", sleeps=True),
        Contender("channel", "channel"),
        Contender("channel-sleep", "channel", sleeps=True),
        Contender("no-ucx", "mpi"),  # what an MPI job's start takes in any case
    ]
    return {one.name: one for one in who}


# ---- how each kind is run ----

def read_results(text: str) -> Metrics:
    """The lines `result NAME VALUE UNIT` of this project's own tools."""
    return {match[1]: float(match[2]) for match in re.finditer(r"^result (\S+) ([-+.e\d]+)", text, re.MULTILINE)}


def _read_perftest(column: int) -> Callable[[str], Metrics]:
    def read(text: str) -> Metrics:
        rows = perftest_rows(text)
        return {"value": float(rows[-1][column])} if rows else {}
    return read


def _read_verbs(text: str) -> Metrics:
    lines = [line.split() for line in text.splitlines() if re.match(r"^ *\d+ +\d+ +[\d.]", line)]
    if not lines:
        return {}
    last = [float(word) for word in lines[-1]]
    if "t_typical" in text:
        return {"latency_p50": last[4], "latency_p99": last[7]}
    return {"value": last[3]}


def _read_bandwidth(text: str) -> Metrics:
    found = read_results(text)
    return {"value": found["bandwidth"]} if "bandwidth" in found else {}


def _ucx_environment(who: Contender) -> dict[str, str]:
    return {"UCX_WARN_UNUSED_ENV_VARS": "n", **who.environment}


def _host(who: Contender) -> str:
    return "10.77.0.1" if who.local else SERVER


def _ucx_perftest(who: Contender, test: str, size: int, count: int, column: int) -> Callable[[int], Job]:
    def make(port: int) -> Job:
        common = [*who.wrapper, "ucx_perftest", "-P", "0", "-p", str(port), *(["-E", "sleep"] if who.sleeps else [])]
        client = [*common, _host(who), "-t", test, "-s", str(size), "-n", str(count), "-O", str(_WINDOW), "-w", str(max(3, min(20, count // 10))), "-f", "-v"]
        return Job(common, client, _read_perftest(column), _ucx_environment(who), local=who.local)
    return make


def _ucp_bench(who: Contender, test: str, *options: str, limit: float = 90) -> Callable[[int], Job]:
    def make(port: int) -> Job:
        common = [*who.wrapper, f"{TESTS}/ucp_bench"]
        sleep = ["--sleep"] if who.sleeps else []
        return Job([*common, "--listen", "--port", str(port)],
                   [*common, _host(who), "--port", str(port), "--test", test, *sleep, *options],
                   read_results, _ucx_environment(who), limit, who.local)
    return make


def _verbs(who: Contender, program: str, size: int, count: int) -> Callable[[int], Job]:
    def make(port: int) -> Job:
        common = [program, "-d", _DEVICE, "-x", who.environment["gid"], "-m", "4096", "-F", "-p", str(port), "-s", str(size),
                  "-n", str(max(count, _WINDOW)), *(["-e"] if who.sleeps else [])]
        if program.endswith("_bw"):
            common += ["-t", str(_WINDOW)]
        return Job(common, [*common, SERVER], _read_verbs, {})
    return make


def _tool(who: Contender, test: str, size: int, count: int, *options: str) -> Callable[[int], Job]:
    program = f"{TESTS}/{who.kind}_bench"
    parse = read_results if test.endswith("_lat") else _read_bandwidth

    def make(port: int) -> Job:
        sleep = ["--sleep"] if who.sleeps else []
        return Job([program, "--listen", "--port", str(port)],
                   [program, SERVER, "--port", str(port), "--test", test, "--size", str(size), "--count", str(count),
                    "--warmup", str(max(3, min(20, count // 10))), "--window", str(_WINDOW), *sleep, *options], parse, {})
    return make


# ---- rows ----

def size_text(size: int) -> str:
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


def _count(size: int) -> int:
    return max(16, min(_OPERATIONS, (_BYTES_LARGE if size >= 1 << 20 else _BYTES) // size))


_PERFTEST = {"tag": "tag_bw", "put": "ucp_put_bw", "get": "ucp_get", "am": "ucp_am_bw"}
_VERBS = {"tag": "ib_send_bw", "put": "ib_write_bw", "get": "ib_read_bw"}
_TOOLS = {"tag": "send_bw", "put": "put_bw", "get": "get_bw"}


def _bandwidth(all_: dict[str, Contender], full: bool) -> list[Row]:
    sizes = [64 << shift for shift in range(19)] if full else [4 << 10, 64 << 10, 1 << 20]
    ucx = ["bulk", "bulk-default", "rc_verbs", "tcp", *(["ud_verbs", "ucx-default"] if full else [])]
    rows = []
    for operation, test in _PERFTEST.items():
        for size in sizes:
            row = Row(f"{operation} {size_text(size)}", "bandwidth", "MiB/s", ("value",), False, operations=_count(size), size=size)
            for name in ucx:
                row.jobs[name] = _ucx_perftest(all_[name], test, size, _count(size), 5)
            if operation in _VERBS:
                for name in ("verbs", *(("verbs-e",) if operation != "put" else ())):  # ib_write_bw takes no -e
                    row.jobs[name] = _verbs(all_[name], _VERBS[operation], size, _count(size))
                if operation != "tag" or size <= _MESSAGE:
                    row.jobs["channel"] = _tool(all_["channel"], _TOOLS[operation], size, _count(size))
                if size <= 1 << 20:
                    row.jobs["rds"] = _tool(all_["rds"], _TOOLS[operation], size, _count(size))
            rows.append(row)
    row = Row("put 1 MiB, one host", "bandwidth", "MiB/s", ("value",), False, size=1 << 20)
    for name in ("bulk-local", "sm-local"):
        row.jobs[name] = _ucx_perftest(all_[name], "ucp_put_bw", 1 << 20, _count(1 << 20), 5)
    rows.append(row)
    for text, option in (("both directions", "--bidirectional"), ("fresh buffers", "--fresh")):
        for operation in ("tag", "put") if full else ("put",):
            for size in (64 << 10, 1 << 20):
                row = Row(f"{operation} {size_text(size)}, {text}", "bandwidth", "MiB/s", ("bandwidth",), False, size=size)
                for name in ("bulk", "bulk-default", "rc_verbs", "tcp", *(("bulk-nohooks", "rc_verbs-nohooks") if option == "--fresh" else ())):
                    row.jobs[name] = _ucp_bench(all_[name], f"{operation}_bw", "--size", str(size), "--count", str(_count(size)), option)
                rows.append(row)
    return rows


def _latency(all_: dict[str, Contender], full: bool) -> list[Row]:
    rows = []
    for size in (8, 4 << 10):
        for sleeps in (False, True):
            row = Row(f"latency {size_text(size)}, {'sleeping' if sleeps else 'polling'}", "latency", "us",
                      ("latency_p50", "latency_p99"), True, size=size)
            suffix = "-sleep" if sleeps else ""
            for name in (["bulk-sleep"] if sleeps else ["bulk", "bulk-default"]) + [f"rc_verbs{suffix}", f"tcp{suffix}"]:
                row.jobs[name] = _ucp_bench(all_[name], "tag_lat", "--size", str(size), "--count", "1000", "--warmup", "30")
            row.jobs["verbs-e" if sleeps else "verbs"] = _verbs(all_["verbs-e" if sleeps else "verbs"], "ib_send_lat", size, 1000)
            for kind in ("channel", "rds"):
                row.jobs[kind + suffix] = _tool(all_[kind + suffix], "send_lat", size, 1000)
            rows.append(row)
    row = Row("latency 8 B, polling, beside 1 MiB messages", "latency", "us", ("latency_p50", "latency_p99"), True, size=8)
    for name in ("bulk", "bulk-default", "rc_verbs", "tcp"):
        row.jobs[name] = _ucp_bench(all_[name], "tag_lat", "--size", "8", "--count", "100", "--warmup", "10", "--beside-bulk", str(1 << 20))
    rows.append(row)
    return rows


def _many(all_: dict[str, Contender], full: bool) -> list[Row]:
    """Messages of many, and other questions of UCP programs."""
    rows = []
    usual = ("bulk", "bulk-default", "rc_verbs", "tcp")

    def ask(name: str, unit: str, metrics: tuple[str, ...], less: bool, who: tuple[str, ...], test: str, *options: str, limit: float = 90) -> None:
        row = Row(name, "messages" if not less else "times", unit, metrics, less)
        for contender in who:
            row.jobs[contender] = _ucp_bench(all_[contender], test, *options, limit=limit)
        rows.append(row)

    for pairs in (1, 4, 16) if full else (1, 4):
        ask(f"8 B messages, {pairs} pair{'s' * (pairs > 1)}", "1/s", ("rate",), False, usual, "msg_rate", "--count", str(20_000 // pairs), "--processes", str(pairs))
    for size in (8, 64 << 10):
        ask(f"8 senders to 1, {size_text(size)}", "MiB/s", ("bandwidth",), False, usual, "incast", "--processes", "8", "--size", str(size),
            "--count", "2000" if size == 8 else "40", limit=180)
    count = 100_000 if full else 10_000
    ask(f"{count} unexpected messages", "s", ("elapsed",), True, usual, "unexpected", "--count", str(count), limit=600 if full else 180)
    ask("first use of a key", "us", ("first_use", "later_use"), True, ("bulk", "bulk-default", "rc_verbs"), "rkey", "--count", "20")
    for test in ("flush", "fence"):
        ask(f"{test}, 100 endpoints", "us", (test,), True, usual, test, "--endpoints", "100", limit=240)
    ask("set-up", "ms", ("setup_first", "setup_later", "setup_100"), True, (*usual, "rc_verbs-rx256", "ud_verbs", "ucx-default"), "setup", limit=240)
    ask("registration", "us", tuple(f"register_{size}_{when}" for size in (4 << 10, 1 << 20, 256 << 20) for when in ("first", "again")), True,
        ("bulk", "rc_verbs"), "register", limit=120)
    return rows


def _processor(all_: dict[str, Contender], full: bool) -> list[Row]:
    rows = []
    ucx = ("bulk-default", "bulk-sleep", "rc_verbs", "tcp", *(("bulk", "rc_verbs-sleep", "tcp-sleep") if full else ()))
    for operation in ("tag", "put", "get") if full else ("tag", "put"):
        for size in (64 << 10, 1 << 20):
            count = _BYTES_LARGE // size  # short work is lost in what else the hosts do
            row = Row(f"processor time, {operation} {size_text(size)}", "processor", "s/GiB", ("cpu",), True, operations=count, size=size, cpu=True)
            for jobs, times in ((row.jobs, count), (row.longer, LONGER * count)):
                # ucx_perftest never wakes a target that sleeps while others write its memory
                for name in ucx if operation == "tag" else [name for name in ucx if not all_[name].sleeps]:
                    jobs[name] = _ucx_perftest(all_[name], _PERFTEST[operation], size, times, 5)
                for name in (*(("verbs-e",) if operation != "put" else ()), *(("verbs",) if full else ())):
                    jobs[name] = _verbs(all_[name], _VERBS[operation], size, times)
                if full:
                    if operation != "tag":
                        jobs["channel-sleep"] = _tool(all_["channel-sleep"], _TOOLS[operation], size, times)
                    jobs["rds"] = _tool(all_["rds"], _TOOLS[operation], size, times)
            rows.append(row)
    return rows


def _mpi(all_: dict[str, Contender], ranks: int) -> Row:
    """Start-up of an MPI job: there is no server, mpirun starts all."""
    row = Row(f"MPI start, 2 hosts x {ranks} ranks", "times", "ms", ("mpi_init", "first_messages", "total"), True)
    for name in ("bulk-default", "rc_verbs", "rc_verbs-rx256", "ud_verbs", "tcp", "ucx-default", "no-ucx"):
        who = all_[name]
        messages = ["ob1", "--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", _FABRIC] if who.kind == "mpi" else ["ucx"]

        def make(port: int, who: Contender = who, messages: list[str] = messages) -> Job:
            command = ["mpirun", "--allow-run-as-root", "-np", str(2 * ranks), "--host", f"host1:{ranks},host2:{ranks}", "--map-by", "slot",
                       "--mca", "pml", *messages, "--mca", "opal_common_ucx_tls", "any", "--mca", "opal_common_ucx_devices", "any",
                       "--mca", "mpi_yield_when_idle", "1", "--prtemca", "prte_if_include", _FABRIC]
            for setting in _ucx_environment(who).items():
                command += ["-x", "=".join(setting)]
            return Job([], [*command, *who.wrapper, f"{TESTS}/mpi_start"], read_results, {}, 300)

        row.jobs[name] = make
    return row


def _growth(all_: dict[str, Contender], full: bool) -> list[Row]:
    rows = []
    for processes in (1, 4, 16, 32) if full else (1, 4, 16):
        row = Row(f"{processes} x {processes} processes", "growth", "", ("queue_pairs", "memory", "pinned", "setup_all"), True, size=processes)
        for name in ("bulk-default", "rc_verbs", "rc_verbs-rx256", "ud_verbs", "tcp"):
            row.jobs[name] = _ucp_bench(all_[name], "grow", "--processes", str(processes), "--hold", "6", limit=300)
        rows.append(row)
    return rows


def _memory(all_: dict[str, Contender]) -> Row:
    """What the kernel takes for each endpoint and each channel; nobody else has the like."""
    row = Row("kernel memory", "memory", "B", ("endpoint_memory", "endpoint_memory_alone", "channel_memory_bound", "channel_memory", "channel_memory_most"), True)
    program = f"{TESTS}/{all_['channel'].kind}_bench"

    def make(port: int) -> Job:
        return Job([program, "--listen", "--port", str(port)], [program, SERVER, "--port", str(port), "--test", "memory"], read_results, {})

    row.jobs["channel"] = make
    return row


def rows(all_: dict[str, Contender], full: bool) -> list[Row]:
    return [*_bandwidth(all_, full), *_latency(all_, full), *_many(all_, full), *_processor(all_, full),
            _mpi(all_, 16), *_growth(all_, full), _memory(all_)]
