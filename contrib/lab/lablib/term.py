# SPDX-License-Identifier: BSD-3-Clause
"""Progress on the terminal, complete logs in a folder, locks, and child processes that
never outlive the lab.

Exit statuses of the lab that are its own and not a command's: `USAGE`, `REPORT` (a kernel
log has a report in it) and `BROKEN` (the lab itself could not do its work)."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Sequence

USAGE = 2
FAILED = 1
REPORT = 97
BROKEN = 98
INTERRUPTED = 130


class LabError(Exception):
    """Something the lab cannot go on from; its text is for the user."""

    def __init__(self, text: str, status: int = BROKEN) -> None:
        super().__init__(text)
        self.status = status


# Loaded once: a child that has just been forked off one of several threads must not load anything.
LIBC = ctypes.CDLL(None, use_errno=True)

_start = time.monotonic()


def say(text: str) -> None:
    """One line of progress, with the seconds since the lab was started."""
    print(f"lab {time.monotonic() - _start:6.1f}s  {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def catch_signals() -> None:
    """Make TERM and HUP end the lab the way Ctrl-C does: by an exception, so that all
    `finally` clauses run and the hosts are stopped."""

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)


@contextlib.contextmanager
def locked(path: Path, why: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; says why it waits when another lab holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with open(path, "w") as file:
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another lab: {why}")
            fcntl.flock(file, mode)
        yield


def die_with_parent() -> None:
    """For `preexec_fn`: the child is killed when the lab is, however the lab ends (strictly: when the thread ends that
    has started it)."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def call(command: Sequence[str | Path], log: Path, what: str, **kwargs: object) -> None:
    """Run `command` with all its output appended to `log`; on failure raise LabError with
    the last lines of it."""
    with open(log, "ab") as file:
        file.write(f"+ {' '.join(map(str, command))}\n".encode())
        file.flush()
        start = file.tell()
        status = subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent, **kwargs).returncode  # type: ignore[call-overload]
    if status != 0:
        raise LabError(f"{what} failed (status {status})\n{tail(log, start)}\n(the whole log: {log})")


def tail(log: Path, start: int = 0, lines: int = 30) -> str:
    """The last lines of a log from byte `start` on, indented for display."""
    with open(log, "rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace").splitlines()
    return "\n".join("    " + line for line in text[-lines:])


def new_log_folder(parent: Path, command: str) -> Path:
    """A folder of its own for this run's logs, with `latest` pointing at it; the newest
    twenty are kept."""
    parent.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = parent / f"{stamp}-{command}-{os.getpid()}"
    folder.mkdir()
    link = parent / "latest"
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    with contextlib.suppress(FileExistsError):
        link.symlink_to(folder.name)
    old = sorted(entry for entry in parent.iterdir() if entry.is_dir() and not entry.is_symlink())
    for entry in old[:-20]:
        subprocess.run(["rm", "-rf", str(entry)], check=False)
    return folder
