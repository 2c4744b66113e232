# SPDX-License-Identifier: BSD-3-Clause
"""Reading kernel logs: which lines mean that the kernel has something to report.

The patterns are the beginnings of the kernel's own report headers, so that a message which merely
contains such a word is none. Each report is shown with what follows it, up to its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_HEADERS = [
    r"WARNING: ", r"BUG: ", r"BUG at ", r"kernel BUG at", r"Oops\b", r"Kernel panic", r"INFO: task .* blocked for more than",
    r"INFO: possible recursive locking", r"INFO: trying to register non-static key", r"INFO: suspicious RCU",
    r"INFO: .*self-detected stall", r"INFO: .*detected stalls", r"rcu: INFO: ", r"UBSAN: ", r"KASAN: ", r"KCSAN: ",
    r"kmemleak: \d+ new suspected", r"kmemleak: Cannot", r"refcount_t: ", r"list_(add|del) corruption",
    r"ODEBUG: ", r"DEBUG_LOCKS_WARN_ON", r"general protection fault", r"Unable to handle kernel",
    r"unable to handle page fault", r"double fault", r"stack segment", r"divide error:", r"invalid opcode:",
    r"slab-\w+ ", r"Slab .*: objects remaining", r"Objects remaining", r"page dumped because", r"Bad page state",
    r"sleeping function called from invalid context", r"scheduling while atomic", r"possible circular locking",
    r"inconsistent lock state", r"possible irq lock inversion", r"bad unlock balance", r"held lock freed",
    r"lock held when returning to user space", r"Bad rss-counter", r"non-zero pgtables_bytes", r"unregister_netdevice: waiting",
    r"watchdog: .*lockup", r"Out of memory",
    r"lab-init: FATAL",
]
_STAMP = r"(?:<\d+>)?(?:\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])?\s)?\s*"
_REPORT = re.compile(f"^{_STAMP}(?:{'|'.join(_HEADERS)})")
_ANYWHERE = re.compile(r"sleeping function called from invalid context|refcount_t: |list_(?:add|del) corruption|"
                       r"possible circular locking|inconsistent lock state|suspicious RCU usage|Bad page state|"
                       r"KASAN: |UBSAN: |watchdog: BUG|kernel BUG at|general protection fault")
_BEGIN = re.compile(r"-+\[ cut here \]-+|={20,}")
_END = re.compile(r"---\[ end |={20,}")

# Reports that are the machine's and not the project's, each with its reason.
_KNOWN: list[str] = []

_LINES = 60


@dataclass(frozen=True)
class Report:
    """One kernel report: the log it is in, the number of its first line, its text."""

    source: str
    line: int
    text: str


def scan(text: str, source: str, first_line: int = 1) -> list[Report]:
    """All reports in a log. One that follows within another's text is part of that one."""
    lines = text.replace("\r", "").splitlines()
    reports = []
    number = 0
    while number < len(lines):
        line = lines[number]
        if (_REPORT.search(line) or _ANYWHERE.search(line)) and not any(known in line for known in _KNOWN):
            begin = number - 1 if number and _BEGIN.search(lines[number - 1]) else number
            end = number + 1
            while end < len(lines) and end - begin < _LINES:
                if _END.search(lines[end]) and end > number + 3:
                    end += 1
                    break
                end += 1
            reports.append(Report(source, first_line + begin, "\n".join(lines[begin:end])))
            number = end
        else:
            number += 1
    return reports


def scan_file(path: Path, start: int = 0) -> list[Report]:
    """All reports in the log file `path` from byte `start` on."""
    data = path.read_bytes()
    text = data[start:].decode(errors="replace")
    return scan(text, str(path), data[:start].count(b"\n") + 1)


def show(reports: list[Report], limit: int = 5) -> str:
    """Reports as text for the terminal."""
    parts = [f"--- {report.source}:{report.line}\n{report.text}" for report in reports[:limit]]
    if len(reports) > limit:
        parts.append(f"--- and {len(reports) - limit} more")
    return "\n".join(parts)
