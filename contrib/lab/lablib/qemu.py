# SPDX-License-Identifier: BSD-3-Clause
"""Virtual hosts: one QEMU each, joined by a virtual network.

Every host has two network adapters. The outside one is QEMU's user-mode network and only forwards
a port of 127.0.0.1 to the host's sshd; it cannot reach anything. The fabric joins the hosts: host 1
listens on a unix socket for every other host (two hosts are joined directly, more by a hub inside
host 1's QEMU), with an interface MTU that gives a RoCE MTU of 4096.

Processors are KVM's where KVM really runs a kernel, which is found out by running one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from . import klog, term
from .build import Layer
from .kernel import Kernel
from .paths import CACHE
from .rootfs import Rootfs

FABRIC_MTU = 4200
_LASTING_HOURS = 4
# ERMS says that "rep movsb" is the fastest way to copy. Emulated it is the slowest, byte by byte, and libc's memcpy
# would use it from 2 KiB on: whoever copies in user space would be worse off here than anywhere else.
# CX16: an interrupt right after the cmpxchg16b in the kernel's memory allocator was seen to find garbage in the flags (QEMU
# 7.2), from which the host dies, about once in a quarter of an hour with one processor. Kernels do without.
_EMULATED = "max,la57=off,svm=off,vmx=off,erms=off,cx16=off"
_READY = "lab-host: ready"
_BASE_ARGUMENTS = [
    "console=ttyS0", "ignore_loglevel", "panic=-1", "net.ifnames=0", "mitigations=off", "random.trust_cpu=on",
    "systemd.show_status=0", "systemd.log_target=journal", "systemd.firstboot=off", "audit=0",
    # Emulated processors that wait for a real one are not stuck, and their time stamp counters are right: the one that
    # they are checked against, HPET, would be used instead, which costs an exit from emulation for each look at the time.
    "tsc=nowatchdog",
    "watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=180", "workqueue.watchdog_thresh=180",
]


@dataclass
class Machine:
    """What every host of a run is made of."""

    kernel: Kernel
    cpus: int
    memory_mb: int
    arguments: list[str] = field(default_factory=list)


@dataclass
class Host:
    """A host that has been started. `pid` is its QEMU's, or that of the `timeout` a lasting one runs under
    (the QEMU dies with it)."""

    number: int
    pid: int
    port: int
    console: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"host{self.number}"

    def is_alive(self) -> bool:
        if self.process:
            return self.process.poll() is None
        try:
            return b"qemu-system" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """End the QEMU at once and wait until it is gone."""
        if not self.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        for _ in range(100):
            if not self.is_alive():
                return
            time.sleep(0.05)


def accelerator(kernel: Kernel) -> str:
    """`kvm` when a kernel boots under it, else `tcg`. The answer is kept until this machine reboots."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = CACHE / f"accelerator-{boot}"
    if known.exists():
        return known.read_text().strip()
    answer = "tcg"
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "kvm",
                   "-cpu", "host", "-m", "256", "-serial", "stdio", "-kernel", str(kernel.image),
                   "-append", "console=ttyS0 panic=-1"]
        try:
            seen = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  timeout=20, preexec_fn=term.die_with_parent).stdout
        except subprocess.TimeoutExpired as expired:
            seen = expired.stdout or b""
        if b"Kernel panic" in seen:  # it got as far as to miss its root file system
            answer = "kvm"
    known.write_text(answer + "\n")
    return answer


def check_memory(hosts: int, memory_mb: int) -> None:
    """Refuse to start what this machine has no memory for."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 10
            need = hosts * (memory_mb + 300)
            if free < need:
                raise term.LabError(f"{hosts} hosts need {need} MB of memory, {free} MB are available "
                                    "(--memory and --hosts change the need)")


def start(count: int, machine: Machine, rootfs: Rootfs, layer: Layer, folder: Path, logs: Path, lasting: bool) -> list[Host]:
    """Start `count` hosts and return without waiting for them to boot. With `lasting` they outlive
    this process (for four hours), else they die with it."""
    check_memory(count, machine.memory_mb)
    how = accelerator(machine.kernel)
    hosts: list[Host] = []
    try:
        for number in range(1, count + 1):
            hosts.append(_start_one(number, count, machine, rootfs, layer, folder, logs, lasting, how))
    except BaseException:
        for host in hosts:
            host.kill()
        raise
    return hosts


def _start_one(number: int, count: int, machine: Machine, rootfs: Rootfs, layer: Layer, folder: Path, logs: Path,
               lasting: bool, how: str) -> Host:
    console = logs / f"host{number}.console"
    messages = logs / f"host{number}.qemu"
    for _ in range(5):
        port = _free_port()
        command = _command(number, count, machine, rootfs, layer, folder, console, port, lasting, how)
        with open(messages, "ab") as file:
            file.write((" ".join(command) + "\n").encode())
            file.flush()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                preexec_fn=None if lasting else term.die_with_parent)
        host = Host(number, process.pid, port, console, process)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            sockets = [_socket(folder, peer) for peer in range(2, count + 1)] if number == 1 else []
            if console.exists() and all(path.exists() for path in sockets):
                return host
            time.sleep(0.02)
        host.kill()
        if "Could not set up host forwarding" not in messages.read_text(errors="replace"):
            break
    raise term.LabError(f"QEMU for host{number} did not start\n{term.tail(messages)}")


def _command(number: int, count: int, machine: Machine, rootfs: Rootfs, layer: Layer, folder: Path, console: Path, port: int,
             lasting: bool, how: str) -> list[str]:
    arguments = [*_BASE_ARGUMENTS, *machine.kernel.arguments(), *machine.arguments, f"lab.host={number}", f"lab.hosts={count}",
                 f"lab.mtu={FABRIC_MTU}", f"systemd.hostname=host{number}"]
    images = [rootfs.image, machine.kernel.modules_image, layer.image]
    # A lasting host that was forgotten ends by itself.
    command = ["timeout", "--signal=KILL", f"{_LASTING_HOURS}h", "setpriv", "--pdeathsig", "KILL"] if lasting else []
    command += [
        "qemu-system-x86_64", "-name", f"lab-host{number}", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35,sata=off,smbus=off,i8042=off",
        *(["-accel", "kvm", "-cpu", "host"] if how == "kvm" else ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", _EMULATED]),
        "-smp", str(machine.cpus), "-m", str(machine.memory_mb),
        "-kernel", str(machine.kernel.image), "-initrd", str(machine.kernel.initrd), "-append", " ".join(arguments),
        "-serial", f"file:{console}", "-device", "virtio-rng-pci",
    ]
    for index, image in enumerate(image for image in images if image):
        command += ["-drive", f"file={image},if=none,id=disk{index},format=raw,readonly=on", "-device", f"virtio-blk-pci,drive=disk{index}"]
    command += ["-netdev", f"user,id=outside,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22",
                "-device", f"virtio-net-pci,netdev=outside,mac=52:54:00:77:01:{number:02x},romfile="]
    return command + _fabric(number, count, folder)


def _fabric(number: int, count: int, folder: Path) -> list[str]:
    adapter = f"virtio-net-pci,netdev=fabric,mac=52:54:00:77:02:{number:02x},host_mtu={FABRIC_MTU},romfile="
    if count == 1:
        return ["-netdev", "hubport,id=fabric,hubid=0", "-device", adapter]
    if number > 1:
        return ["-netdev", f"stream,id=fabric,server=off,addr.type=unix,addr.path={_socket(folder, number)}", "-device", adapter]
    if count == 2:
        return ["-netdev", f"stream,id=fabric,server=on,addr.type=unix,addr.path={_socket(folder, 2)}", "-device", adapter]
    command = ["-netdev", "hubport,id=fabric,hubid=0", "-device", adapter]
    for peer in range(2, count + 1):
        command += ["-netdev", f"stream,id=link{peer},server=on,addr.type=unix,addr.path={_socket(folder, peer)}",
                    "-netdev", f"hubport,id=port{peer},hubid=0,netdev=link{peer}"]
    return command


def _socket(folder: Path, peer: int) -> Path:
    return folder / f"fabric{peer}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EarlyDeath(term.LabError):
    """A host's kernel has died while it booted, before rdma_bulk was loaded."""


def wait_ready(hosts: Sequence[Host], seconds: int) -> None:
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
            raise term.LabError("\n".join(f"{host.name} is not up after {seconds} s\n"
                                          f"{_why(host, host.console.read_text(errors='replace'))}" for host in waiting))
        time.sleep(0.1)


def _why(host: Host, text: str) -> str:
    reports = klog.scan(text, str(host.console))
    return klog.show(reports, 2) if reports else term.tail(host.console) + f"\n(the whole console: {host.console})"
