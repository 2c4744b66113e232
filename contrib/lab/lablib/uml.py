# SPDX-License-Identifier: BSD-3-Clause
"""Virtual hosts in user-mode Linux: the kernel is a program, and a host a handful of processes of this machine.

The program needs Debian 13's C library, so it is started inside the root file system's tree. Namespaces of processes and
mounts around each host see to it that nothing of it outlives its first process; its memory is a file on a tmpfs
of that namespace. Its disks are the same images as QEMU's, but the host reaches them as files of this machine (hostfs): the driver
of UML's own disks, ubd, waits for signals, of which 7.3 loses some. For the network see net.py."""

from __future__ import annotations

from pathlib import Path

from . import chroot, net
from .build import Layer
from .hosts import Host, Machine, start_process
from .paths import CACHE
from .rootfs import Rootfs

_CACHE_INSIDE = Path("/build")
_ARGUMENTS = ["con=null", "con0=null,fd:1", "con1=null,fd:1", "seccomp=on", "rdinit=/init"]
# The packets that the vector driver takes or gives at once. Where it has no room rxe would lose some, and wait for long.
_DEPTH = 256
# The program is not its namespace's first process: that one ignores the signals by which a dying kernel ends itself, with a dump
# of all its memory if one lets it.
_SECOND = ["sh", "-c", 'ulimit -c 0; "$@"; exit $?', "sh"]


def start(count: int, machine: Machine, rootfs: Rootfs, layer: Layer, logs: Path, lasting: bool) -> list[Host]:
    """Start `count` hosts and return without waiting for them to boot. With `lasting` they outlive this process
    (for four hours), else they die with it."""
    network = net.Network(count)
    hosts: list[Host] = []
    try:
        for number in range(1, count + 1):
            hosts.append(_start_one(number, count, machine, rootfs, layer, network, logs, lasting))
    except BaseException:
        for host in hosts:
            host.kill()
        raise
    finally:
        network.close()
    return hosts


def _start_one(number: int, count: int, machine: Machine, rootfs: Rootfs, layer: Layer, network: net.Network, logs: Path,
               lasting: bool) -> Host:
    console = logs / f"host{number}.console"
    fabric = network.fabric(number).fileno()
    images = [rootfs.image, machine.kernel.modules_image, layer.image]
    program = [
        str(_inside(machine.kernel.image)), f"mem={machine.memory_mb}M", f"ncpus={machine.cpus}",
        f"initrd={_inside(machine.kernel.initrd)}",
        f"hostfs={_CACHE_INSIDE}", "lab.disks=" + ":".join(str(image.relative_to(CACHE)) for image in images if image),
        f"vec0:transport=fd,fd={fabric},gro=0,depth={_DEPTH},mtu={net.FABRIC_MTU},mac=52:54:00:77:02:{number:02x}",
        f"vec1:{network.outside(number)},mac=52:54:00:77:01:{number:02x}",
        *_ARGUMENTS, *machine.boot_arguments(number, count),
    ]
    command = chroot.command_line(rootfs.tree, CACHE, [*_SECOND, *program], cwd="/tmp", env={"TMPDIR": "/tmp"})
    process = start_process(command, console, logs / f"host{number}.uml", lasting, [fabric], network.enter)
    return Host.of(number, process, console, net.ssh_options(number, process.pid))


def _inside(path: Path) -> Path:
    """A file of the cache as the program sees it."""
    return _CACHE_INSIDE / path.relative_to(CACHE)
