# SPDX-License-Identifier: BSD-3-Clause
"""`lab bench`: bulk beside every peer on two hosts, all in one run.

Contenders: raw verbs (perftest), UCX over rc_verbs, tcp and others, RDS over RDMA, bulk by UCX and bulk by the
channel library alone. Within a row they take turns, round after round. Written to one folder: samples.csv,
bench.md (medians, spreads, ratios, targets), and SVG plots. With --curves: see curves.py."""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from pathlib import Path
from typing import Callable

from .. import demo, term
from ..paths import CHECKOUT
from ..session import Session
from . import curves, plan, report
from .runner import Runner


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="all sizes and numbers of processes, 5 rounds: hours")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of measurements (3; with --full 5)")
    parser.add_argument("--rows", metavar="REGEX", default="", help="only rows in whose name or group REGEX is found")
    parser.add_argument("--only", metavar="REGEX", default="", help="only contenders in whose name REGEX is found")
    parser.add_argument("--minutes", type=float, default=0, metavar="N", help="begin no further round after so long (0: no limit)")
    parser.add_argument("--out", metavar="DIR", help="folder for what is written (that of the logs)")
    parser.add_argument("--curves", action="store_true",
                        help="instead: what one event costs beside 1, 10, ... 1,000 (--full: 100,000) that lie idle; --rows chooses what lies idle")
    parser.add_argument("--list", action="store_true", help="name the rows and their contenders, measure nothing")


def choose(options: argparse.Namespace, all_: dict[str, plan.Contender]) -> list[plan.Row]:
    try:
        wanted, who = re.compile(options.rows), re.compile(options.only)
    except re.error as error:
        raise term.LabError(f"not a regular expression: {error}", term.USAGE) from None
    chosen = []
    for row in plan.rows(all_, options.full):
        row.jobs = {name: job for name, job in row.jobs.items() if who.search(name)}
        if row.jobs and (wanted.search(row.name) or wanted.search(row.group)):
            chosen.append(row)
    if not chosen:
        raise term.LabError("no row and contender match --rows and --only (see --list)", term.USAGE)
    return chosen


def show_list(options: argparse.Namespace) -> None:
    if options.curves:
        for crowd in curves.choose(options.rows):
            print(f"{crowd:10} {curves.CROWDS[crowd]}")
        return
    for row in choose(options, plan.contenders(1)):
        print(f"{row.group:10} {row.name}: {', '.join(row.jobs)}")


def _header(session: Session, processors: int, accelerator: str) -> report.Header:
    def say(*command: str) -> str:
        return subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()

    commit = say("git", "rev-parse", "--short", "HEAD") or "unknown"
    if say("git", "status", "--porcelain"):
        commit += " with changes"
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown")
    cores = say("nproc")
    _, kernel = session.output(1, "uname -r", timeout=60)
    return report.Header(commit, time.strftime("%Y-%m-%d"), f"{cores} cores of {model}", processors, kernel.strip(),
                         {"kvm": "KVM", "tcg": "emulated by QEMU", "uml": "user-mode Linux"}[accelerator])


def _folder(options: argparse.Namespace, logs: Path) -> Path:
    folder = Path(options.out).resolve() if options.out else logs
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_curves(boot: Callable[[], Session], judge: Callable[[Session], int], logs: Path, accelerator: str, options: argparse.Namespace) -> int:
    """The bench's other form, on hosts that it boots itself; returns an exit status."""
    form = curves.Form.of(options.full)
    hosts = curves.Hosts(boot, judge, anew=options.full)
    failed = curves.run(hosts, logs, curves.choose(options.rows), options.rounds or 1, form,
                        lambda session: _header(session, options.cpus, accelerator), _folder(options, logs))
    return hosts.status or (term.FAILED if failed else 0)


def run(session: Session, logs: Path, accelerator: str, options: argparse.Namespace) -> int:
    """The bench; returns how many of its measurements failed."""
    all_ = plan.contenders(demo.gid_index(session))
    chosen = choose(options, all_)
    folder = _folder(options, logs)
    if any("rds" in name for row in chosen for name in row.jobs):
        session.on_all("modprobe rds_rdma", timeout=120)
    header = _header(session, options.cpus, accelerator)
    runner = Runner(session, logs, all_, options.minutes * 60 if options.minutes else float("inf"))
    try:
        runner.run(chosen, options.rounds or (5 if options.full else 3))
    finally:
        report.write_csv(folder / "samples.csv", header, runner, chosen)
        report.write_markdown(folder / "bench.md", header, runner, chosen)
        plots = report.write_plots(folder, runner, chosen)
        term.say(f"written to {folder}: samples.csv, bench.md, {', '.join(path.name for path in plots)}")
    for (row, name), why in runner.failures.items():
        term.warn(f"FAILED: {row}, {name}: {why}")
    print((folder / "bench.md").read_text(), flush=True)
    return len(runner.failures)
