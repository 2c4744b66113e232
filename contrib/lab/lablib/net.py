# SPDX-License-Identifier: BSD-3-Clause
"""The network of hosts that are processes of this machine (uml.py): a network namespace of the lab's own.

In it each host has two veth devices with the host behind their far ends, whose packets it takes and gives through packet
sockets. By `outsideN` the lab's ssh comes in; it leads nowhere else: this machine's own networks are not in the namespace, and
nothing is forwarded. All hosts have the same address there, as they have under QEMU; the device says which is meant. The
fabric is a socket pair between two hosts: it makes a sender wait where a device loses packets. More hosts have `fabricN`
on a bridge.

Nothing of it has a name outside, so the kernel removes it with the last process in it, however that ends.
(UML's vector driver of 7.3 can take nothing but sockets: without VECTOR_TX its `vector_net_open` uses a queue it does not have.
One that it was given is closed when the interface is taken down, so a host's `ip link set fabric0 down` is for good.)"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Iterator

from . import term
from .hosts import FABRIC_MTU

_CLONE_NEWNET = 0x40000000
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SOCKET_BYTES = 8 << 20
_PACKET_BYTES = 64 << 20  # what a host has not taken yet; more is lost
_ETH_P_ALL = 3

_LAB = "10.0.2.2"
_HOST = "10.0.2.15"

_SETUP = """
set -e
for file in /proc/sys/net/ipv6/conf/default/disable_ipv6; do [ ! -e $file ] || echo 1 > $file; done
echo 0 > /proc/sys/net/ipv4/ip_forward
for which in all default; do echo 0 > /proc/sys/net/ipv4/conf/$which/rp_filter; done
ip -batch -
echo ready
exec sleep infinity
"""


class Network:
    """The namespace, as an open file, and the hosts' sockets; to be closed when the hosts have been started."""

    def __init__(self, count: int) -> None:
        self.namespace = _make_namespace(_devices(count))
        if count == 2:
            self._fabric = _socket_pair()
        else:
            with self._inside():
                self._fabric = [_packet_socket(f"far-fabric{number}") for number in range(1, count + 1)]

    def close(self) -> None:
        os.close(self.namespace)
        for end in self._fabric:
            end.close()

    def enter(self) -> None:
        """Move this thread into the namespace."""
        _setns(self.namespace)

    def outside(self, number: int) -> str:
        """The transport of UML's vector driver that leads host `number` outside."""
        return f"transport=raw,ifname=far-outside{number}"

    def fabric(self, number: int) -> socket.socket:
        """What joins host `number` to the fabric."""
        return self._fabric[number - 1]

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        with open("/proc/thread-self/ns/net", "rb") as own:
            self.enter()
            try:
                yield
            finally:
                _setns(own.fileno())


def ssh_options(number: int, pid: int) -> list[str]:
    """How ssh reaches host `number`; process `pid` is in the namespace."""
    reach = Path(__file__).with_name("reach.py")
    return [f"HostName {_HOST}", "ProxyUseFdpass yes",
            f"ProxyCommand nsenter --net=/proc/{pid}/ns/net {sys.executable} -I -S {reach} outside{number} %h %p"]


def _setns(namespace: int) -> None:
    if term.LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _devices(count: int) -> str:
    """Commands of ip(8) that make the devices."""
    lines = ["link set lo up"]
    if count > 2:
        lines += [f"link add fabric mtu {FABRIC_MTU} type bridge", "link set fabric up"]
    for number in range(1, count + 1):
        lines += [f"link add outside{number} type veth peer name far-outside{number}", f"addr add {_LAB}/24 dev outside{number}",
                  f"link set outside{number} gso_max_segs 1 up", f"link set far-outside{number} up"]
        if count != 2:
            lines += [f"link add fabric{number} mtu {FABRIC_MTU} type veth peer name far-fabric{number} mtu {FABRIC_MTU}",
                      f"link set fabric{number} up" + (" master fabric" if count > 2 else ""), f"link set far-fabric{number} up"]
    return "\n".join(lines) + "\n"


def _make_namespace(devices: str) -> int:
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", _SETUP], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, preexec_fn=term.die_with_parent)
    assert holder.stdin and holder.stdout
    try:
        with holder.stdin as commands:
            commands.write(devices.encode())
        said = b""
        while not said.endswith(b"ready\n"):
            line = holder.stdout.readline()
            if not line:
                raise term.LabError("cannot make a network for the hosts (it takes network namespaces, bridges and veth devices)\n"
                                    + said.decode(errors="replace"))
            said += line
        return os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def _socket_pair() -> list[socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SOCKET_BYTES)
        end.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SOCKET_BYTES)
    return list(pair)


def _packet_socket(device: str) -> socket.socket:
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    end.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _PACKET_BYTES)
    end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SOCKET_BYTES)
    end.bind((device, _ETH_P_ALL))
    return end
