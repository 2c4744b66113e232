# SPDX-License-Identifier: BSD-3-Clause
"""A run of hosts: booted together, commands run on them over ssh, their kernel logs judged.

A session ends with the lab (`lab run`, `lab check`, ...) or lasts (`lab up`); a lasting one is
described in `MINE/up.json` for later commands. Each host has one ssh connection that all commands
share, because setting one up is slow under emulation."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Sequence

from . import klog, qemu, term, uml
from .build import Layer
from .hosts import EarlyDeath, Host, Machine, check_memory, wait_ready
from .kernel import Kernel
from .paths import MINE
from .rootfs import Rootfs

_LASTING = MINE / "up.json"

# Runs on each host: gives what kmemleak thinks has leaked since the host came up.
_KMEMLEAK = """
f=/sys/kernel/debug/kmemleak
echo scan > $f; sleep 6; echo scan > $f; cat $f
"""


GONE = 255  # ssh's exit status when there is no connection (any more)
_BOOT_LIMIT = 600  # seconds; emulated hosts with a debug kernel, beside others, take a while

# Ends ssh's connections, which may be into a network that is gone, and removes the session's folder ($1).
_TIDY = """
for connection in "$1"/host*-*; do
    [ ! -S "$connection" ] || ssh -S "$connection" -O exit host
done
rm -rf "$1"
"""
# The same when the lab ends, in whatever way: it holds the other end of the pipe that this waits at.
_TIDY_LATER = "read -r nothing; " + _TIDY

_RUNNERS = {"kvm": "KVM", "tcg": "emulated", "uml": "user-mode Linux"}


def runner(kernel: Kernel) -> str:
    """What hosts with this kernel run on: `kvm`, `tcg` (emulation) or `uml`."""
    return "uml" if kernel.is_program else qemu.accelerator(kernel)


class Session:
    """Hosts that are up. `folder` holds sockets and the ssh configuration, `logs` the consoles."""

    def __init__(self, hosts: list[Host], folder: Path, logs: Path, flavour: str, kmemleak: bool) -> None:
        self.hosts = hosts
        self.folder = folder
        self.logs = logs
        self.flavour = flavour
        self.kmemleak = kmemleak
        self._read: dict[int, int] = {}
        self._reported = False
        self._tidier: subprocess.Popen[bytes] | None = None

    # -- life

    @classmethod
    def boot(cls, count: int, machine: Machine, rootfs: Rootfs, layer: Layer, logs: Path, lasting: bool = False,
             kmemleak: bool = False, limit: float = _BOOT_LIMIT) -> Session:
        """Boot `count` hosts and wait until they take commands, for `limit` seconds at most.

        A kernel that patches its own code while it boots is seen to die of it now and then (int3), under
        emulation with several processors: then they are booted again."""
        for lost in range(1, 4):
            try:
                return cls._boot(count, machine, rootfs, layer, logs, lasting, kmemleak, min(limit, _BOOT_LIMIT))
            except EarlyDeath as death:
                if lost == 3 or runner(machine.kernel) != "tcg":
                    raise
                for console in logs.glob("host*.console"):
                    console.rename(f"{console}.lost-{lost}")
                term.warn(f"{death}\nbooting again")
        raise AssertionError("unreachable")

    @classmethod
    def _boot(cls, count: int, machine: Machine, rootfs: Rootfs, layer: Layer, logs: Path, lasting: bool, kmemleak: bool,
              limit: float) -> Session:
        folder = Path(tempfile.mkdtemp(prefix="lab-"))
        if kmemleak and "kmemleak=on" not in machine.arguments:
            machine.arguments.append("kmemleak=on")
        session = cls([], folder, logs, machine.kernel.flavour, kmemleak)
        if not lasting:
            session._tidier = subprocess.Popen(["sh", "-c", _TIDY_LATER, "sh", str(folder)], stdin=subprocess.PIPE,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            check_memory(count, machine.memory_mb)
            how = runner(machine.kernel)
            term.say(f"booting {count} host{'s' * (count > 1)}: Linux {machine.kernel.version}, {machine.cpus} CPUs, "
                     f"{machine.memory_mb} MB each, {_RUNNERS[how]}")
            if how == "uml":
                session.hosts = uml.start(count, machine, rootfs, layer, logs, lasting)
            else:
                session.hosts = qemu.start(count, machine, rootfs, layer, folder, logs, lasting)
            session._write_ssh_config(rootfs)
            wait_ready(session.hosts, limit)
            session._connect()
        except BaseException:
            session.end()
            raise
        term.say("hosts are up: " + ", ".join(host.name for host in session.hosts))
        if kmemleak:
            session.on_all("echo clear > /sys/kernel/debug/kmemleak")
        return session

    def save(self) -> None:
        """Make this session known to later commands of this checkout."""
        _LASTING.write_text(json.dumps({
            "hosts": [[host.number, host.pid, host.born, str(host.console), host.ssh] for host in self.hosts],
            "folder": str(self.folder), "logs": str(self.logs), "flavour": self.flavour, "kmemleak": self.kmemleak,
            "read": self._read, "reported": self._reported,
        }))

    @classmethod
    def load(cls) -> Session | None:
        """The lasting session of this checkout, if it is up."""
        try:
            state = json.loads(_LASTING.read_text())
        except FileNotFoundError:
            return None
        hosts = [Host(number, pid, born, Path(console), ssh) for number, pid, born, console, ssh in state["hosts"]]
        session = cls(hosts, Path(state["folder"]), Path(state["logs"]), state["flavour"], state["kmemleak"])
        session._read = {int(number): offset for number, offset in state["read"].items()}
        session._reported = state["reported"]
        if not all(host.is_alive() for host in hosts):
            term.warn("a host of the session is gone; the last of its console:")
            for host in hosts:
                if not host.is_alive():
                    term.warn(f"{host.name}\n{term.tail(host.console)}")
            session.end()
            return None
        return session

    def end(self) -> None:
        """Stop all hosts at once and remove what the session left outside its logs."""
        for host in self.hosts:
            host.kill()
        if self._tidier:
            self._tidier.communicate()
        else:
            subprocess.run(["sh", "-c", _TIDY, "sh", str(self.folder)], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        try:
            if json.loads(_LASTING.read_text())["folder"] == str(self.folder):
                _LASTING.unlink()
        except FileNotFoundError:
            pass

    # -- commands

    def host(self, number: int) -> Host:
        return self.hosts[number - 1]

    def ssh(self, number: int, command: Sequence[str] | str, user: str = "root", tty: bool = False) -> list[str]:
        """The command line that runs `command` on a host. A list is passed word by word, a string is
        a shell command."""
        text = command if isinstance(command, str) else shlex.join(command)
        options = ["-tt" if tty else "-T", "-l", user]
        return ["ssh", "-F", str(self.folder / "ssh_config"), *options, f"host{number}", *([text] if text else [])]

    def run(self, number: int, command: Sequence[str] | str, user: str = "root", stdin: int | IO[bytes] | None = None) -> int:
        """Run a command on a host with this terminal, and return its exit status."""
        tty = stdin is None and sys.stdin.isatty() and sys.stdout.isatty()
        with subprocess.Popen(self.ssh(number, command, user, tty), stdin=stdin) as process:
            try:
                while True:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(1)
                    if not self.host(number).is_alive():  # of which ssh learns late, or not at all
                        process.kill()
                        return GONE
            except BaseException:
                process.kill()
                raise

    def output(self, number: int, command: Sequence[str] | str, user: str = "root", timeout: float | None = None) -> tuple[int, str]:
        """Run a command on a host; its exit status (124: `timeout` seconds were not enough) and what it printed."""
        try:
            done = subprocess.run(self.ssh(number, command, user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            return 124, (expired.stdout or b"").decode(errors="replace")
        return done.returncode, done.stdout.decode(errors="replace")

    def on_all(self, command: str, user: str = "root", timeout: float | None = None) -> dict[int, tuple[int, str]]:
        """Run a shell command on all hosts at once; a host that has ended gives `GONE`."""
        jobs = [(host.number, subprocess.Popen(self.ssh(host.number, command, user), stdin=subprocess.DEVNULL,
                                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
                for host in self.hosts if host.is_alive()]
        results = {host.number: (GONE, "") for host in self.hosts}
        for number, job in jobs:
            try:
                text, _ = job.communicate(timeout=timeout)
                results[number] = (job.returncode, text.decode(errors="replace"))
            except subprocess.TimeoutExpired:
                job.kill()
                results[number] = (124, "")
        return results

    def push(self, folder: Path, changed: list[Path]) -> None:
        """Bring the files `changed` (below `folder`) to all hosts, over what is there."""
        names = "\0".join(str(path.relative_to(folder)) for path in changed)
        archive = subprocess.run(["tar", "-C", str(folder), "--null", "-T", "-", "--owner=0", "--group=0", "-cf", "-"],
                                 input=names.encode(), stdout=subprocess.PIPE, check=True).stdout
        for host in self.hosts:
            status = subprocess.run(self.ssh(host.number, "tar -C / --unlink-first -xf - && ldconfig"), input=archive).returncode
            if status != 0:
                raise term.LabError(f"cannot copy the new files to {host.name}")

    # -- verdict

    def reports(self, last: bool = False) -> list[klog.Report]:
        """The kernel reports since the last call; with `last`, as the hosts are about to be stopped,
        also from `dmesg` and kmemleak."""
        found: list[klog.Report] = []
        time.sleep(0.2)  # the console's last line may be on its way
        for host in self.hosts:
            start = self._read.get(host.number, 0)
            found += klog.scan_file(host.console, start)
            self._read[host.number] = host.console.stat().st_size
            if not host.is_alive():
                found.append(klog.Report(str(host.console), 1, f"{host.name} has ended by itself\n{term.tail(host.console)}"))
        self._reported |= bool(found)
        if last:
            found += self._last_reports()
        return found

    def _last_reports(self) -> list[klog.Report]:
        found = []
        for number, (status, text) in self.on_all("dmesg", timeout=60).items():
            if not self.host(number).is_alive():
                continue  # which has been reported
            path = self.logs / f"host{number}.dmesg"
            path.write_text(text)
            if status != 0:
                found.append(klog.Report(str(path), 1, f"host{number} no longer takes commands (status {status})\n"
                                                       f"{term.tail(self.host(number).console)}"))
            elif not self._reported:  # the console has said it all otherwise
                found += klog.scan_file(path)
        if self.kmemleak:
            term.say("looking for leaked memory (kmemleak)")
            for number, (_, text) in self.on_all(_KMEMLEAK, timeout=300).items():
                path = self.logs / f"host{number}.kmemleak"
                path.write_text(text)
                if "unreferenced object" in text:
                    found.append(klog.Report(str(path), 1, "kmemleak:\n" + text[:4000]))
        return found

    # -- inside

    def _write_ssh_config(self, rootfs: Rootfs) -> None:
        parts = ["\n    ".join([f"Host {host.name}", *host.ssh]) + "\n" for host in self.hosts]
        (self.folder / "ssh_config").write_text("".join(parts) + (
            "Host *\n    User root\n"
            f"    IdentityFile {rootfs.ssh_key}\n    IdentitiesOnly yes\n"
            "    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    LogLevel ERROR\n"
            "    PreferredAuthentications publickey\n    ConnectTimeout 60\n    ServerAliveInterval 30\n    ServerAliveCountMax 10\n"
            f"    ControlMaster auto\n    ControlPersist yes\n    ControlPath {self.folder}/%n-%r\n"))

    def _connect(self) -> None:
        for number, (status, text) in self.on_all("true", timeout=120).items():
            if status != 0:
                raise term.LabError(f"host{number} is up but takes no commands\n{text}\n{term.tail(self.host(number).console)}")
