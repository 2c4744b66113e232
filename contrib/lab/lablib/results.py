# SPDX-License-Identifier: BSD-3-Clause
"""Counting tests: what GoogleTest and TAP programs print, and the sums over all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# A verdict has its duration behind it; the summary's repetitions have none.
_GTEST = re.compile(r"\[\s+(OK|FAILED|SKIPPED)\s+\] (\S+\.\S+?)(?:, where .*?)? \(\d+ ms\)")
_GTEST_RUN = re.compile(r"\[ RUN      \] (\S+\.\S+)")
_GTEST_ENDED = re.compile(r"\[  PASSED  \] \d+ test|\[  FAILED  \] \d+ test|\d+ FAILED TEST")
_TAP = re.compile(r"^(not ok|ok)\b(?: \d+)?(?: -)? ?([^#]*?)(?: - (.*?))?\s*(# *(?:SKIP|TODO)\b.*)?$", re.IGNORECASE)
_TAP_PLAN = re.compile(r"^1\.\.(\d+)")


@dataclass
class Outcome:
    """What one test program's output says: a verdict for each test in it, and whether the program came to its end."""

    verdicts: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    running: str | None = None  # the test without a verdict yet


def read_gtest(text: str) -> Outcome:
    outcome = Outcome()
    for line in text.splitlines():
        if run := _GTEST_RUN.search(line):
            outcome.running = run[1]
        if verdict := _GTEST.search(line):
            outcome.verdicts[verdict[2]] = {"OK": PASSED, "FAILED": FAILED, "SKIPPED": SKIPPED}[verdict[1]]
            outcome.running = None
        if _GTEST_ENDED.search(line):
            outcome.ended = True
    return outcome


def read_tap(text: str) -> Outcome:
    outcome = Outcome()
    for line in text.splitlines():
        if plan := _TAP_PLAN.match(line):
            outcome.ended = int(plan[1]) == len(outcome.verdicts)
        elif match := _TAP.match(line):
            name = match[2].strip() or str(len(outcome.verdicts) + 1)
            while name in outcome.verdicts:
                name += "+"
            if match[4]:
                verdict = SKIPPED
            else:
                verdict = PASSED if match[1].lower() == "ok" else FAILED
            outcome.verdicts[name] = verdict
    return outcome


class Tally:
    """The sums, and the names of what failed."""

    def __init__(self) -> None:
        self.counts = {PASSED: 0, FAILED: 0, SKIPPED: 0}
        self.failed: list[str] = []

    def add(self, name: str, verdict: str) -> None:
        self.counts[verdict] += 1
        if verdict == FAILED:
            self.failed.append(name)

    def line(self) -> str:
        """`N passed, N failed`, and the skipped ones if there are any."""
        return summary(self.counts)


def summary(counts: dict[str, int]) -> str:
    text = f"{counts[PASSED]} passed, {counts[FAILED]} failed"
    return text + (f", {counts[SKIPPED]} skipped" if counts[SKIPPED] else "")


def count(verdicts: dict[str, str]) -> dict[str, int]:
    return {kind: sum(verdict == kind for verdict in verdicts.values()) for kind in (PASSED, FAILED, SKIPPED)}
