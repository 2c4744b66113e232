# SPDX-License-Identifier: BSD-3-Clause
"""What all virtual hosts have in common, whatever runs them (qemu.py, uml.py)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Sequence

from . import klog, term
from .kernel import Kernel

FABRIC_MTU = 4200  # gives a RoCE MTU of 4096
_LASTING_HOURS = 4
_READY = "lab-host: ready"
_BASE_ARGUMENTS = [
    "ignore_loglevel", "panic=-1", "net.ifnames=0", "systemd.show_status=0", "systemd.log_target=journal",
    "systemd.firstboot=off", "audit=0",
]
# Around a host there are only these: namespaces of its own, and the limit of a lasting one.
_WRAPPERS = ("timeout", "unshare")


@dataclass
class Machine:
    """What every host of a run is made of."""

    kernel: Kernel
    cpus: int
    memory_mb: int
    arguments: list[str] = field(default_factory=list)

    def boot_arguments(self, number: int, count: int) -> list[str]:
        """The arguments of the kernel of host `number` of `count`, but for those of what runs it."""
        return [*_BASE_ARGUMENTS, *self.kernel.arguments(), *self.arguments, f"lab.host={number}", f"lab.hosts={count}",
                f"lab.mtu={FABRIC_MTU}", f"systemd.hostname=host{number}"]


@dataclass
class Host:
    """A host that has been started. `pid` is that of the process the lab has started for it, and all others
    of the host end when that one does; `born` is when that was, so that a later process with the same number is not
    taken for it. `ssh` says in ssh's configuration how to reach it."""

    number: int
    pid: int
    born: str
    console: Path
    ssh: list[str]
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, number: int, process: subprocess.Popen[bytes], console: Path, ssh: list[str]) -> Host:
        stat = _stat(process.pid)
        return cls(number, process.pid, stat[_START] if stat else "", console, ssh, process)

    @property
    def name(self) -> str:
        return f"host{self.number}"

    def is_alive(self) -> bool:
        if self.process:
            return self.process.poll() is None
        stat = _stat(self.pid)
        return bool(stat) and stat[_START] == self.born and stat[_STATE] != "Z"

    def kill(self) -> None:
        """End the host at once and wait until it is gone."""
        if not self.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(_innermost(self.pid), signal.SIGKILL)
        for _ in range(200):
            if not self.is_alive():
                return
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()


# Fields of /proc/PID/stat behind the name.
_STATE, _PARENT, _START = 0, 1, 19


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _innermost(pid: int) -> int:
    """The process that the wrappers around a host wait for: they end, and tidy up, when it does."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        if Path(f"/proc/{pid}/comm").read_text().strip() in _WRAPPERS:
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and _stat(int(entry.name))[_PARENT:_PARENT + 1] == [str(pid)]:
                    return _innermost(int(entry.name))
    return pid


def start_process(command: list[str], output: Path, messages: Path, lasting: bool, pass_fds: Sequence[int] = (),
                  enter: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
    """Start what runs a host; what it says is added to `output`, its command line to `messages`. It is killed when the
    lab ends, or, with `lasting`, ends by itself when it has been forgotten for long. `enter` is called in the process first."""

    def prepare() -> None:
        if enter:
            enter()
        if not lasting:
            term.die_with_parent()

    if lasting:
        command = ["timeout", "--signal=KILL", f"{_LASTING_HOURS}h", "setpriv", "--pdeathsig", "KILL", *command]
    with open(messages, "ab") as file:
        file.write((" ".join(command) + "\n").encode())
    with open(output, "ab") as file:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                                pass_fds=pass_fds, preexec_fn=prepare)


class TooLittleMemory(term.LabError):
    """This machine has no memory for so many hosts."""


def check_memory(hosts: int, memory_mb: int) -> None:
    """Refuse to start what this machine has no memory for."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 10
            need = hosts * (memory_mb + 300)
            if free < need:
                raise TooLittleMemory(f"{hosts} hosts need {need} MB of memory, {free} MB are available "
                                      "(--memory and --hosts change the need)")


class EarlyDeath(term.LabError):
    """A host's kernel has died while it booted, before rdma_bulk was loaded."""


def wait_ready(hosts: Sequence[Host], seconds: float) -> None:
    """Wait until every host has said on its console that it is up."""
    deadline = time.monotonic() + seconds
    waiting = list(hosts)
    while waiting:
        for host in list(waiting):
            text = host.console.read_text(errors="replace")
            if _READY in text:
                waiting.remove(host)
            elif not host.is_alive():
                error = term.LabError if "rdma_bulk:" in text else EarlyDeath
                raise error(f"{host.name} ended while booting\n{_why(host, text)}")
        if waiting and time.monotonic() > deadline:
            raise term.LabError("\n".join(f"{host.name} is not up after {seconds:.0f} s\n"
                                          f"{_why(host, host.console.read_text(errors='replace'))}" for host in waiting))
        time.sleep(0.1)


def _why(host: Host, text: str) -> str:
    reports = klog.scan(text, str(host.console))
    return klog.show(reports, 2) if reports else term.tail(host.console) + f"\n(the whole console: {host.console})"
