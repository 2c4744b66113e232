# SPDX-License-Identifier: BSD-3-Clause
"""Virtual hosts in QEMU: one each, joined by a virtual network.

Every host has two network adapters. The outside one is QEMU's user-mode network and only forwards
a port of 127.0.0.1 to the host's sshd; it cannot reach anything. The fabric joins the hosts: host 1
listens on a unix socket for every other host (two hosts are joined directly, more by a hub inside
host 1's QEMU), with an interface MTU that gives a RoCE MTU of 4096.

Processors are KVM's where KVM really runs a kernel, which is found out by running one."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from . import term
from .build import Layer
from .hosts import FABRIC_MTU, Host, Machine, start_process
from .kernel import Kernel
from .paths import CACHE
from .rootfs import Rootfs

# ERMS says that "rep movsb" is the fastest way to copy. Emulated it is the slowest, byte by byte, and libc's memcpy
# would use it from 2 KiB on: whoever copies in user space would be worse off here than anywhere else.
# CX16: an interrupt right after the cmpxchg16b in the kernel's memory allocator was seen to find garbage in the flags (QEMU
# 7.2), from which the host dies, about once in a quarter of an hour with one processor. Kernels do without.
_EMULATED = "max,la57=off,svm=off,vmx=off,erms=off,cx16=off"
_ARGUMENTS = [
    "console=ttyS0", "mitigations=off", "random.trust_cpu=on",
    # Emulated processors that wait for a real one are not stuck, and their time stamp counters are right: the one that
    # they are checked against, HPET, would be used instead, which costs an exit from emulation for each look at the time.
    "tsc=nowatchdog",
    "watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=180", "workqueue.watchdog_thresh=180",
]


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


def start(count: int, machine: Machine, rootfs: Rootfs, layer: Layer, folder: Path, logs: Path, lasting: bool) -> list[Host]:
    """Start `count` hosts and return without waiting for them to boot. With `lasting` they outlive
    this process (for four hours), else they die with it."""
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
        command = _command(number, count, machine, rootfs, layer, folder, console, port, how)
        process = start_process(command, messages, messages, lasting)
        host = Host.of(number, process, console, ["HostName 127.0.0.1", f"Port {port}"])
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
             how: str) -> list[str]:
    arguments = [*_ARGUMENTS, *machine.boot_arguments(number, count)]
    images = [rootfs.image, machine.kernel.modules_image, layer.image]
    command = [
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
