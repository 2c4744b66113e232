# SPDX-License-Identifier: BSD-3-Clause
"""`lab check`: all tests, or those a filter selects.

    lint        the kernel module builds at W=1 and under sparse without a warning, for every kernel that is booted and
                for the oldest and newest that are supported; checkpatch, where a kernel's headers bring it
    unit        `make check`: what needs no kernel, natively
    *-one       GoogleTest programs that need one host
    *-two       GoogleTest programs that need a second one, named by BULK_PEER
    sys-*       TAP scripts that use both hosts

All programs run on every kernel: first in user-mode Linux, where a failure is seen soonest, then on the stock kernel, then on those that
look for faults: KASAN (in user-mode Linux where there is such a kernel, else under QEMU) and lockdep. Several run at
the same time, each on hosts of its own. A program that crashes, hangs, comes to no end or leaves a kernel report has failed;
its hosts are then booted anew for the next one. With --long all is run on Debian's oldest and newest kernels, too."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import threading
import time
from pathlib import Path

from . import build, chroot, kernel, klog, programs, releases, rootfs, term
from .crew import Crew, Duties, Job
from .hosts import Machine, check_memory
from .kernel import Kernel
from .paths import LOGS, kernel_folders
from .results import FAILED, PASSED, SKIPPED, Tally, count, read_gtest, read_tap, summary
from .session import GONE, Session

# In this order; of each line the first that there is.
_KERNELS = [("um",), (kernel.STOCK,), ("um-kasan", "kasan"), ("lockdep",)]
_LONG = ["bookworm", "backports"]  # fetched when they are not there

# Filters that select nothing of `make check`.
_LAB_ONLY = re.compile(r"sys-|lint\b|[a-z]+(-direct)?-(one|two)\b")

# CI ends what takes an hour. No program begins later than this, and one that has begun may take a little longer.
_MINUTES = 50
_LAST_MINUTES = 5


class Check:
    """One run of `lab check`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.filter = options.filter or ""
        self.started = time.monotonic()
        self.minutes = options.minutes if options.minutes is not None else 0 if options.long else _MINUTES
        self.deadline = self.started + self.minutes * 60 if self.minutes else float("inf")
        self.tally = Tally()
        self.omitted: list[str] = []
        self.lock = threading.Lock()
        if options.logs:
            self.logs = Path(options.logs).resolve()
            self.logs.mkdir(parents=True, exist_ok=True)
        else:
            self.logs = term.new_log_folder(LOGS, "check")
        term.say(f"logs are in {self.logs}")

    # -- what is selected

    def wants(self, program: str, test: str = "") -> bool:
        """Is that test (or some test of that program, as far as the name tells) selected?"""
        if test:
            return self.filter in program or self.filter in f"{program}.{test}"
        return self.filter in program or self.filter.startswith(program + ".")

    def add(self, program: str, test: str, verdict: str) -> None:
        with self.lock:
            self.tally.add(f"{program}.{test}" if test else program, verdict)

    # -- phases

    def run(self) -> int:
        folders = kernel_folders(self.options.kernel_dir)
        wanted = [self.options.kernel] if self.options.kernel else _kernels(folders) + (_LONG if self.options.long else [])
        try:
            self.tree = rootfs.get(self.logs)
        except term.LabError as error:
            self._broken("rootfs", error)
            return self._end({})
        duties = Duties(boot=self._boot, run=self._program, leave=self._leave, lost=lambda job, error: self._broken(job.name, error),
                        left_out=self._leave_out)
        crew = Crew(duties, self.options.hosts, self.deadline)
        # The tests of the first kernel begin as soon as they can; all else is built and tried beside them.
        found: list[programs.Program] | None = None
        for flavour in wanted:
            try:
                chosen = kernel.get(flavour, folders, self.tree, self.logs)
                layer = self._module(chosen, user_space=flavour == wanted[0])
                if layer is None:
                    continue
                if found is None:
                    found = programs.find(self.tree, layer, self.wants)
                    if not found:
                        term.say("no programs to run on hosts" + (f" match '{self.filter}'" if self.filter else ""))
                crew.add([Job(chosen, layer, program) for program in found])
            except term.LabError as error:
                self._broken(flavour, error)
        if not self.options.no_build:
            if not _LAB_ONLY.match(self.filter):
                self._unit()
            self._releases()
            self._checkpatch(folders)
        crew.close()
        return self._end(crew.spans)

    def _module(self, chosen: Kernel, user_space: bool) -> build.Layer | None:
        """Build the module for this kernel, and first what else there is if `user_space`; `None` when the module fails."""
        if self.options.no_build:
            return build.last(chosen)
        if user_space or self.options.no_module:
            layer = build.build(self.tree, chosen, self.logs, user_space, with_module=False)
            if self.options.no_module:
                return layer
        started = time.monotonic()
        name = f"module-{chosen.flavour}"
        try:
            layer = build.build(self.tree, chosen, self.logs, user_space=False)
        except term.LabError as error:
            term.warn(str(error))
            self._line(f"lint.{name}", {"built": FAILED}, started)
            self.add("lint", name, FAILED)
            return None
        if self.wants("lint", name):
            self.add("lint", name, PASSED)
            self._line(f"lint.{name}", {"built": PASSED}, started)
        self._layers(chosen)
        return layer

    def _layers(self, chosen: Kernel) -> None:
        """The order of the module's layers, by the symbols of its objects (by its includes, `make check` looks)."""
        name = f"layers-{chosen.flavour}"
        if not self.wants("lint", name):
            return
        started = time.monotonic()
        log = self.logs / f"{name}.log"
        command = ["sh", "test/kernel/layers_test.sh", f"/build/kmod-{chosen.flavour}/src/kernel"]
        line = chroot.command_line(self.tree.tree, build.BUILD, command, "/build/src")
        with open(log, "wb") as file:
            status = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                    preexec_fn=term.die_with_parent).returncode
        verdict = PASSED if status == 0 else FAILED
        self.add("lint", name, verdict)
        self._line(f"lint.{name}", {"": verdict}, started)
        if verdict == FAILED:
            term.warn(term.tail(log))

    def _releases(self) -> None:
        """Build the module for each Linux release that is supported, booted or not. Left out by --kernel, unless asked for."""
        if self.options.no_module or (self.options.kernel and not self.filter):
            return
        for release in releases.RELEASES:
            if not self.wants("lint", f"module-{release}"):
                continue
            started = time.monotonic()
            name, verdict = f"module-{release}", PASSED
            try:
                target = releases.headers(release, self.tree, self.logs)
                name = f"module-{target.release}"
                build.module_for(self.tree, target, self.logs)
            except term.LabError as error:
                term.warn(str(error))
                verdict = FAILED
            self.add("lint", name, verdict)
            self._line(f"lint.{name}", {"built": verdict}, started)

    def _checkpatch(self, folders: list[Path]) -> None:
        if not self.wants("lint", "checkpatch"):
            return
        for flavour in kernel.flavours(folders):
            headers = kernel.get(flavour, folders, self.tree, self.logs).headers
            script = next(headers.glob("usr/src/*/scripts/checkpatch.pl"), None) if headers else None
            if headers and script:
                break
        else:
            return
        started = time.monotonic()
        log = self.logs / "checkpatch.log"
        inside = "/" + str(script.relative_to(headers))
        # Kernel versions are the business of compat.h, and of nothing else.
        command = ["sh", "-c", f"check='perl {inside} --no-tree --terse --show-types --no-summary'; status=0; "
                               "$check -f $(find src/kernel src/uapi -name '*.[ch]' ! -name compat.h | sort) || status=1; "
                               "$check --ignore LINUX_VERSION_CODE,CONSTANT_COMPARISON -f src/kernel/base/compat.h || status=1; "
                               "exit $status"]
        line = chroot.command_line(self.tree.tree, build.BUILD, command, "/build/src", layers=[headers])
        with open(log, "wb") as file:
            status = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                    preexec_fn=term.die_with_parent).returncode
        verdict = PASSED if status == 0 else FAILED
        self.add("lint", "checkpatch", verdict)
        self._line("lint.checkpatch", {"": verdict}, started)
        if verdict == FAILED:
            term.warn(term.tail(log))

    def _unit(self) -> None:
        """`make check`. Each program's log is read for its tests; one without any counts as a test itself."""
        term.say("make check")
        objects = build.BUILD / "obj/test"
        for old in [*objects.rglob("*.trs")]:
            old.unlink()
        started = time.monotonic()
        status = build.unit_tests(self.tree, self.logs / "unit.log")
        seen = failed = 0
        for result in sorted(objects.rglob("*.trs")):
            seen += 1
            log = result.with_suffix(".log")
            name = result.stem
            text = log.read_text(errors="replace") if log.exists() else ""
            verdict = next((line.split(":")[2].strip() for line in result.read_text().splitlines()
                            if line.startswith(":global-test-result:") or line.startswith(":test-result:")), "ERROR")
            outcome = read_gtest(text) if "[ RUN      ]" in text else read_tap(text)
            verdicts = dict(outcome.verdicts)
            if verdict not in ("PASS", "SKIP", "XFAIL") and FAILED not in verdicts.values():
                verdicts[outcome.running or "program"] = FAILED
            if not verdicts:
                verdicts = {"": SKIPPED if verdict == "SKIP" else PASSED}
            failed += FAILED in verdicts.values()
            verdicts = {test: v for test, v in verdicts.items() if self.wants(name, test)}
            if not verdicts:
                continue
            for test, one in verdicts.items():
                self.add(name, test, one)
            self._line(name, verdicts, None)
            if FAILED in verdicts.values():
                self._show(log, verdicts)
        if status != 0 and not failed:
            self.add("unit", "make-check", FAILED)
            term.warn(f"make check failed (status {status})\n{term.tail(self.logs / 'unit.log')}")
        term.say(f"make check: {seen} programs, {time.monotonic() - started:.0f} s")

    # -- programs of the lab: these run in the crew's threads

    def _program(self, job: Job, session: Session) -> bool:
        """Run the program; are the hosts still good for another?"""
        program = job.program
        if self._left() < 30:
            self._leave_out(job)
            return True
        limit = int(min(program.limit * (2 if job.kernel.is_debug else 1), self._left()))
        words = ["env", "BULK_PEER=host2", "PEER=host2"] if len(session.hosts) > 1 else ["env"]
        words += ["timeout", "--kill-after=10", str(limit), *program.command()]
        log = self.logs / (job.name.replace("/", "-") + ".log")
        started = time.monotonic()
        with open(log, "wb") as file:
            process = subprocess.Popen(session.ssh(1, words), stdin=subprocess.DEVNULL, stdout=file,
                                       stderr=subprocess.STDOUT, preexec_fn=term.die_with_parent)
            status = _wait(process, session, log, limit + 30, programs.GTEST_SILENCE if program.is_gtest else limit + 30)
        text = log.read_text(errors="replace")
        outcome = read_gtest(text) if program.is_gtest else read_tap(text)
        verdicts = dict(outcome.verdicts)
        if not program.is_gtest and "." in self.filter:
            verdicts = {test: v for test, v in verdicts.items() if self.wants(program.name, test)}
        failure, why = program.judge(outcome, status, limit)
        if failure:
            verdicts[failure] = FAILED
        reports = session.reports()
        if reports:
            verdicts["kernel-report"] = FAILED
        for test, verdict in verdicts.items():
            self.add(job.name, test, verdict)
        self._line(job.name, verdicts, started, why)
        if FAILED in verdicts.values():
            self._show(log, verdicts)
        if reports:
            self._show_reports(job.name, reports)
        return not (reports or why)

    def _boot(self, job: Job, hosts: int, others: int) -> Session:
        options, flavour = self.options, job.kernel.flavour
        check_memory(hosts + others, options.memory)
        with self.lock:
            number = len(list(self.logs.glob(f"{flavour}-boot*"))) + 1
            logs = self.logs / f"{flavour}-boot{number}"
            logs.mkdir()
        machine = Machine(job.kernel, options.cpus, options.memory, options.append.split())
        session = Session.boot(hosts, machine, self.tree, job.layer, logs, False, options.kmemleak and job.kernel.is_debug,
                               max(60, self._left()))
        self._reports(f"{flavour}/boot", session)
        if job.layer.has_module:
            loaded = session.on_all("test -d /sys/module/rdma_bulk", timeout=60)
            missing = [number for number, (status, _) in loaded.items() if status != 0]
            if missing:
                console = session.host(missing[0]).console
                session.end()
                raise term.LabError(f"rdma_bulk is not loaded on host {missing}\n{term.tail(console)}")
        return session

    def _leave(self, chosen: Kernel, session: Session) -> None:
        self._reports(f"{chosen.flavour}/end", session, last=True)

    def _left(self) -> float:
        """The seconds that what has begun may still take."""
        return self.deadline + 60 * _LAST_MINUTES - time.monotonic()

    def _leave_out(self, job: Job) -> None:
        self.add(job.name, "", SKIPPED)
        self.omitted.append(job.name)

    def _reports(self, name: str, session: Session, last: bool = False) -> None:
        reports = session.reports(last)
        if reports:
            self.add(name, "kernel-report", FAILED)
            self._show_reports(name, reports)

    # -- showing

    def _line(self, name: str, verdicts: dict[str, str], started: float | None, why: str = "") -> None:
        seconds = f", {time.monotonic() - started:.0f} s" if started is not None else ""
        counts = count(verdicts)
        mark = "FAIL" if counts[FAILED] else "ok  "
        term.say(f"{mark} {name}: {summary(counts)}{seconds}{': ' + why if why else ''}")

    def _show(self, log: Path, verdicts: dict[str, str]) -> None:
        names = [test for test, verdict in verdicts.items() if verdict == FAILED]
        term.warn(f"failed: {', '.join(names)}; the end of {log}:\n{term.tail(log)}")

    def _show_reports(self, name: str, reports: list[klog.Report]) -> None:
        (self.logs / (name.replace("/", "-") + ".reports")).write_text(klog.show(reports, 1000) + "\n")
        term.warn(f"{name}: kernel reports\n{klog.show(reports, 3)}")

    def _broken(self, name: str, error: term.LabError) -> None:
        term.warn(str(error))
        self.add(name, "lab", FAILED)

    def _end(self, spans: dict[str, tuple[float, float]]) -> int:
        counts = self.tally.counts
        if not sum(counts.values()):
            term.warn(f"no test matches '{self.filter}'")
            self.tally.add("filter", FAILED)
        if self.omitted:
            term.warn(f"LEFT OUT, for {self.minutes:g} minutes were over (--minutes):\n"
                      + "\n".join(f"    {name}" for name in self.omitted))
        if self.tally.failed:
            term.warn("failed:\n" + "\n".join(f"    {name}" for name in self.tally.failed))
        for flavour, (begin, end) in spans.items():
            term.say(f"time: {flavour} took {_clock(end - begin)}, from {_clock(begin - self.started)} to {_clock(end - self.started)}")
        term.say(f"time: {_clock(time.monotonic() - self.started)} in all")
        term.say(f"done; logs: {self.logs}")
        print(self.tally.line(), flush=True)
        return term.FAILED if self.tally.failed else 0


def _kernels(folders: list[Path]) -> list[str]:
    """The kernels that all is run on."""
    there = {kernel.STOCK, *kernel.flavours(folders)}
    chosen = [next((name for name in names if name in there), None) for names in _KERNELS]
    for names, name in zip(_KERNELS, chosen):
        if not name:
            term.say(f"there is no kernel {' or '.join(names)}: going on without it")
    return [name for name in chosen if name]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _wait(job: subprocess.Popen[bytes], session: Session, log: Path, limit: float, silence: float) -> int:
    """The job's exit status; 124 if it had to be killed, after `limit` seconds or `silence` seconds without output. When a host
    ends it need not go on."""
    started = heard = time.monotonic()
    size = 0
    while True:
        try:
            return job.wait(1)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if log.stat().st_size != size:
                size, heard = log.stat().st_size, now
            gone = not all(host.is_alive() for host in session.hosts)
            if gone or now - started > limit or now - heard > silence:
                job.kill()
                job.wait()
                return GONE if gone else 124


def run(options: argparse.Namespace) -> int:
    return Check(options).run()
