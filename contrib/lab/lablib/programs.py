# SPDX-License-Identifier: BSD-3-Clause
"""The test programs that run on hosts: which there are, how long each may take, what its end means."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Callable

from . import build, chroot
from .build import Layer
from .results import FAILED, Outcome
from .rootfs import Rootfs
from .session import GONE

TESTS = "/usr/libexec/rdma-bulk/tests"

GTEST_SILENCE = 240  # seconds; each test says when it begins and ends
_GTEST_LIMIT = 900
_SCRIPT_LIMIT = {"sys-ucp-verify": 900, "sys-kill": 600, "sys-rmmod": 600}
_SCRIPT_LIMIT_ELSE = 420

# Where several run side by side, the longest begin first; the others follow by name.
_LONGEST_FIRST = ["sys-ucp-verify", "sys-kill", "channel-two", "channel-one", "direct-one", "sys-rmmod", "sys-perftest"]


@dataclass(frozen=True)
class Program:
    """One test program. `tests` are the names of those tests that are selected, if not all are."""

    name: str
    is_gtest: bool
    tests: tuple[str, ...] = ()

    @property
    def needs_peer(self) -> bool:
        return not self.name.endswith("-one")

    @property
    def limit(self) -> int:
        return _GTEST_LIMIT if self.is_gtest else _SCRIPT_LIMIT.get(self.name, _SCRIPT_LIMIT_ELSE)

    def command(self) -> list[str]:
        options = ["--gtest_color=no"] if self.is_gtest else []
        if self.tests:
            options.append("--gtest_filter=" + ":".join(self.tests))
        return [f"{TESTS}/{self.name}", *options]

    def judge(self, outcome: Outcome, status: int, limit: int) -> tuple[str, str]:
        """What is to be added to the failed tests for the way in which the program has ended (empty: nothing), and why its hosts
        cannot be trusted any more (empty: they can)."""
        why = ""
        if status in (124, 137):
            why = f"hangs (no end within {limit} s" + (f", or nothing said for {GTEST_SILENCE} s)" if self.is_gtest else ")")
        elif status == GONE:
            why = "the host no longer answers"
        elif status not in (0, 1, 2) or (self.is_gtest and not outcome.ended):
            why = f"ended with status {status}" + (f", signal {status - 128}" if 128 < status < 160 else "")
        if why:
            return outcome.running or "program", why
        if not outcome.verdicts:
            return "no-tests", ""
        if status != 0 and FAILED not in outcome.verdicts.values():
            return f"exit-status-{status}", ""
        return "" if outcome.ended else "plan", ""


def find(rootfs: Rootfs, layer: Layer, wants: Callable[[str, str], bool]) -> list[Program]:
    """The programs with tests that are wanted (`wants(program, test)`; an empty test: the program as a whole), in the
    order in which they are best begun."""
    found = []
    for path in sorted((layer.folder / TESTS.lstrip("/")).glob("*")):
        name = path.name
        if name.endswith(("-one", "-two")):
            tests = _list(name, rootfs, layer)
            selected = tuple(test for test in tests if wants(name, test))
            if selected or wants(name, ""):
                found.append(Program(name, True, selected if len(selected) < len(tests) else ()))
        elif name.startswith("sys-") and not path.suffix and os.access(path, os.X_OK) and wants(name, ""):
            found.append(Program(name, False))
    rank = {name: position for position, name in enumerate(_LONGEST_FIRST)}
    return sorted(found, key=lambda program: (rank.get(program.name, len(rank)), program.name))


def _list(name: str, rootfs: Rootfs, layer: Layer) -> list[str]:
    """The names of a GoogleTest program's tests, asked natively; none if it does not tell."""
    line = chroot.command_line(rootfs.tree, build.BUILD, [f"{TESTS}/{name}", "--gtest_list_tests"], layers=[layer.folder],
                               env={"BULK_PEER": "host2"})
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
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
