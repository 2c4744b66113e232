# SPDX-License-Identifier: BSD-3-Clause
"""`lab check`: all tests, or those a filter selects.

    lint        the kernel module builds at W=1 and under sparse without a warning, for every kernel that is booted and
                for the oldest and newest that are supported; checkpatch, where a kernel's headers bring it
    unit        `make check`: what needs no kernel, natively
    *-one       GoogleTest programs that need one host
    *-two       GoogleTest programs that need a second one, named by BULK_PEER
    sys-*       TAP scripts that use both hosts

Everything runs on the stock kernel, and the GoogleTest programs and some of the scripts on the debug
kernels as well, as long as the time given lasts. A program that crashes, hangs, comes to no end or leaves
a kernel report has failed; the hosts are then booted anew for the next one."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import build, chroot, kernel, klog, releases, rootfs, term
from .hosts import Machine
from .paths import LOGS, kernel_folders
from .results import FAILED, PASSED, SKIPPED, Outcome, Tally, count, read_gtest, read_tap, summary
from .session import Session

TESTS = "/usr/libexec/rdma-bulk/tests"

_GTEST_LIMIT = 900
_GTEST_SILENCE = 240  # each test says when it begins and ends
_SCRIPT_LIMIT = {"sys-ucp-verify": 900, "sys-kill": 600, "sys-rmmod": 600}
_SCRIPT_LIMIT_ELSE = 420

# Filters that select nothing of `make check`.
_LAB_ONLY = re.compile(r"sys-|lint\b|[a-z]+(-direct)?-(one|two)\b")

# The scripts that run on debug kernels, shortened by these arguments.
_SHORT = {
    "sys-kill": ["2"],
    "sys-perftest": ["tag_lat-8", "tag_bw-64K", "ucp_put_bw-1M", "ucp_get-1M"],
    "sys-ucp-verify": ["get-rendezvous", "peer-errors"],
    "sys-return": [],
    "sys-rmmod": [],
}
# On a debug kernel what finds most comes first, for the time may not last for all.
_ORDER = ["channel-two", "uct-two", "channel-one", "direct-one", "uct-one", "sys-kill", "sys-ucp-verify", "sys-return", "sys-rmmod", "sys-perftest"]


@dataclass(frozen=True)
class Program:
    """One test program of the lab. `tests` are the names of its tests where they are known."""

    name: str
    is_gtest: bool
    tests: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        return _GTEST_LIMIT if self.is_gtest else _SCRIPT_LIMIT.get(self.name, _SCRIPT_LIMIT_ELSE)


class Check:
    """One run of `lab check`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.filter = options.filter or ""
        self.deadline = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
        self.tally = Tally()
        if options.logs:
            self.logs = Path(options.logs).resolve()
            self.logs.mkdir(parents=True, exist_ok=True)
        else:
            self.logs = term.new_log_folder(LOGS, "check")
        term.say(f"logs are in {self.logs}")
        self.session: Session | None = None

    # -- what is selected

    def wants(self, program: str, test: str = "") -> bool:
        """Is that test (or some test of that program, as far as the name tells) selected?"""
        if test:
            return self.filter in program or self.filter in f"{program}.{test}"
        return self.filter in program or self.filter.startswith(program + ".")

    def add(self, program: str, test: str, verdict: str) -> None:
        self.tally.add(f"{program}.{test}" if test else program, verdict)

    # -- phases

    def run(self) -> int:
        wanted = [self.options.kernel] if self.options.kernel else None
        folders = kernel_folders(self.options.kernel_dir)
        if wanted is None:
            found = [name for name in ("kasan", "lockdep") if name in kernel.flavours(folders)]
            if len(found) < 2:
                term.say(f"debug kernels found: {', '.join(found) or 'none'}; going on without the others")
            wanted = [kernel.STOCK, *found]
        try:
            self.tree = rootfs.get(self.logs)
        except term.LabError as error:
            self._broken("rootfs", error)
            return self._end()
        for position, flavour in enumerate(wanted):
            try:
                self._flavour(flavour, folders, first=position == 0)
            except term.LabError as error:
                self._broken(f"{flavour}", error)
            finally:
                self._stop()
        return self._end()

    def _flavour(self, flavour: str, folders: list[Path], first: bool) -> None:
        if not first and time.monotonic() > self.deadline:
            term.say(f"{flavour}: no time left, nothing is tested on this kernel")
            self.add(f"{flavour}/all", "", SKIPPED)
            return
        chosen = kernel.get(flavour, folders, self.tree, self.logs)
        if first and not self.options.no_build:
            build.build(self.tree, chosen, self.logs, with_module=False)
            if not _LAB_ONLY.match(self.filter):
                self._unit()
        layer = self._module(chosen, first)
        if first:
            self._releases()
            self._checkpatch(folders)
        if layer is None:
            return
        programs = self._programs(chosen, layer)
        for program in programs:
            self._program(program, chosen, layer)
        if self.session:
            self._reports(f"{flavour}/end", last=True)

    def _module(self, chosen: kernel.Kernel, first: bool) -> build.Layer | None:
        """Build the module for this kernel; `None` when that fails."""
        if self.options.no_build:
            return build.last(chosen)
        if self.options.no_module:
            return build.build(self.tree, chosen, self.logs, user_space=False, with_module=False)
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
        return layer

    def _releases(self) -> None:
        """Build the module for each Linux release that is supported, booted or not. Left out by --kernel, unless asked for."""
        if self.options.no_build or self.options.no_module or (self.options.kernel and not self.filter):
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
        if not self.wants("lint", "checkpatch") or self.options.no_build:
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

    # -- programs of the lab

    def _programs(self, chosen: kernel.Kernel, layer: build.Layer) -> list[Program]:
        """The selected programs, in the order in which they run."""
        folder = layer.folder / TESTS.lstrip("/")
        found = []
        for path in sorted(folder.glob("*")):
            name = path.name
            is_gtest = name.endswith(("-one", "-two"))
            if not is_gtest and not (name.startswith("sys-") and not path.suffix and os.access(path, os.X_OK)):
                continue
            if name.startswith("sys-"):
                if not self.wants(name):
                    continue
                if not chosen.is_debug:
                    found.append(Program(name, False))
                elif name in _SHORT:
                    found.append(Program(name, False, (), tuple(_SHORT[name])))
                continue
            tests = self._list(name, layer)
            selected = tuple(test for test in tests if self.wants(name, test))
            if selected or self.wants(name):
                found.append(Program(name, True, selected if len(selected) < len(tests) else ()))
        if not found:
            term.say(f"{chosen.flavour}: no programs to run on hosts" + (f" match '{self.filter}'" if self.filter else ""))
        if chosen.is_debug:
            rank = {name: position for position, name in enumerate(_ORDER)}
            found.sort(key=lambda program: rank.get(program.name, len(rank)))
        return found

    def _list(self, name: str, layer: build.Layer) -> list[str]:
        """The names of a GoogleTest program's tests, asked natively; none if it does not tell."""
        line = chroot.command_line(self.tree.tree, build.BUILD, [f"{TESTS}/{name}", "--gtest_list_tests"], layers=[layer.folder],
                                   env={"BULK_PEER": "host2"})
        try:
            done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            return []
        tests, suite = [], ""
        for text in done.stdout.splitlines() if done.returncode == 0 else []:
            word = text.split("#")[0].strip()
            if text.startswith("  ") and suite:
                tests.append(suite + word)
            elif word.endswith("."):
                suite = word
        return tests

    def _program(self, program: Program, chosen: kernel.Kernel, layer: build.Layer) -> None:
        name = f"{chosen.flavour}/{program.name}"
        left = self.deadline - time.monotonic()
        if chosen.is_debug and left < 30:
            term.say(f"{name}: left out, the time is over")
            self.add(name, "", SKIPPED)
            return
        self._boot(chosen, layer)
        assert self.session
        limit = int(min(program.limit * (2 if chosen.is_debug else 1), max(left, 60) if chosen.is_debug else 3600))
        words = ["env", "BULK_PEER=host2", "PEER=host2"] if len(self.session.hosts) > 1 else ["env"]
        words += ["timeout", "--kill-after=10", str(limit), f"{TESTS}/{program.name}", *program.arguments]
        if program.is_gtest:
            words += ["--gtest_color=no"]
            if program.tests:
                words += ["--gtest_filter=" + ":".join(program.tests)]
        log = self.logs / (name.replace("/", "-") + ".log")
        started = time.monotonic()
        with open(log, "wb") as file:
            job = subprocess.Popen(self.session.ssh(1, words), stdin=subprocess.DEVNULL, stdout=file,
                                   stderr=subprocess.STDOUT, preexec_fn=term.die_with_parent)
            status = _wait(job, log, limit + 30, _GTEST_SILENCE if program.is_gtest else limit + 30)
        text = log.read_text(errors="replace")
        outcome = read_gtest(text) if program.is_gtest else read_tap(text)
        verdicts, why = self._judge(program, outcome, status, limit)
        reports = self.session.reports()
        if reports:
            verdicts["kernel-report"] = FAILED
        for test, verdict in verdicts.items():
            self.add(name, test, verdict)
        self._line(name, verdicts, started, why)
        if FAILED in verdicts.values():
            self._show(log, verdicts)
        if reports:
            (self.logs / (name.replace("/", "-") + ".reports")).write_text(klog.show(reports, 1000) + "\n")
            term.warn(klog.show(reports, 3))
        if reports or why:
            self._stop()

    def _judge(self, program: Program, outcome: Outcome, status: int, limit: int) -> tuple[dict[str, str], str]:
        """The program's verdicts, with one added for the program when it did not end as it should, and why
        the hosts cannot be trusted any more (empty if they can)."""
        verdicts = dict(outcome.verdicts)
        if not program.is_gtest and "." in self.filter:
            verdicts = {test: v for test, v in verdicts.items() if self.wants(program.name, test)}
        why = ""
        if status in (124, 137):
            why = f"hangs (no end within {limit} s" + (f", or nothing said for {_GTEST_SILENCE} s)" if program.is_gtest else ")")
        elif status == 255:
            why = "the host no longer answers"
        elif status not in (0, 1, 2) or (program.is_gtest and not outcome.ended):
            why = f"ended with status {status}" + (f", signal {status - 128}" if 128 < status < 160 else "")
        if why:
            verdicts[outcome.running or "program"] = FAILED
        elif not outcome.verdicts:
            verdicts["no-tests"] = FAILED
        elif status != 0 and FAILED not in outcome.verdicts.values():
            verdicts[f"exit-status-{status}"] = FAILED
        elif not outcome.ended:
            verdicts["plan"] = FAILED
        return verdicts, why

    # -- hosts

    def _boot(self, chosen: kernel.Kernel, layer: build.Layer) -> None:
        if self.session:
            return
        options = self.options
        number = len(list(self.logs.glob(f"{chosen.flavour}-boot*"))) + 1
        logs = self.logs / f"{chosen.flavour}-boot{number}"
        logs.mkdir()
        machine = Machine(chosen, options.cpus, options.memory, options.append.split())
        self.session = Session.boot(options.hosts, machine, self.tree, layer, logs, False, options.kmemleak and chosen.is_debug)
        self._reports(f"{chosen.flavour}/boot")
        if layer.has_module:
            loaded = self.session.on_all("test -d /sys/module/rdma_bulk", timeout=60)
            missing = [number for number, (status, _) in loaded.items() if status != 0]
            if missing:
                raise term.LabError(f"rdma_bulk is not loaded on host {missing}\n{term.tail(self.session.host(missing[0]).console)}")

    def _reports(self, name: str, last: bool = False) -> None:
        assert self.session
        reports = self.session.reports(last)
        if reports:
            self.add(name, "kernel-report", FAILED)
            (self.logs / (name.replace("/", "-") + ".reports")).write_text(klog.show(reports, 1000) + "\n")
            term.warn(f"{name}: kernel reports\n{klog.show(reports, 3)}")

    def _stop(self) -> None:
        if self.session:
            self.session.end()
            self.session = None

    # -- showing

    def _line(self, name: str, verdicts: dict[str, str], started: float | None, why: str = "") -> None:
        seconds = f", {time.monotonic() - started:.0f} s" if started is not None else ""
        counts = count(verdicts)
        mark = "FAIL" if counts[FAILED] else "ok  "
        term.say(f"{mark} {name}: {summary(counts)}{seconds}{': ' + why if why else ''}")

    def _show(self, log: Path, verdicts: dict[str, str]) -> None:
        names = [test for test, verdict in verdicts.items() if verdict == FAILED]
        term.warn(f"failed: {', '.join(names)}; the end of {log}:\n{term.tail(log)}")

    def _broken(self, name: str, error: term.LabError) -> None:
        term.warn(str(error))
        self.add(name, "lab", FAILED)

    def _end(self) -> int:
        counts = self.tally.counts
        if not sum(counts.values()):
            term.warn(f"no test matches '{self.filter}'")
            self.tally.add("filter", FAILED)
        if self.tally.failed:
            term.warn("failed:\n" + "\n".join(f"    {name}" for name in self.tally.failed))
        term.say(f"done; logs: {self.logs}")
        print(self.tally.line(), flush=True)
        return term.FAILED if self.tally.failed else 0


def _wait(job: subprocess.Popen[bytes], log: Path, limit: float, silence: float) -> int:
    """The job's exit status; 124 if it had to be killed, after `limit` seconds or `silence` seconds without output."""
    started = heard = time.monotonic()
    size = 0
    while True:
        try:
            return job.wait(1)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if log.stat().st_size != size:
                size, heard = log.stat().st_size, now
            if now - started > limit or now - heard > silence:
                job.kill()
                job.wait()
                return 124


def run(options: argparse.Namespace) -> int:
    return Check(options).run()
