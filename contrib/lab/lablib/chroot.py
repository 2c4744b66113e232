# SPDX-License-Identifier: BSD-3-Clause
"""Running commands inside the Debian tree, natively and without changing it.

Each command gets mount and process namespaces of its own: the tree is mounted read-only, `/build`
is the caller's folder, `/tmp` is fresh memory. So several checkouts build at the same time, and
when the command ends, or the lab is killed, every process and mount of it is gone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Mapping, Sequence

from . import term

_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


def command_line(root: Path, build: Path, command: Sequence[str], cwd: str = "/build",
                 layers: Sequence[Path] = (), env: Mapping[str, str] | None = None) -> list[str]:
    """The host command that runs `command` in the tree `root` with `build` at /build.

    `layers` are folders laid over the tree, the uppermost first, as the hosts will see them;
    what the command then writes into the tree is lost, /build excepted."""
    mounts = ["set -eu"]
    top = shlex.quote(str(root))
    if layers:
        work = shlex.quote(str(build / "overlay"))
        lower = ":".join(str(path) for path in [*layers, root])
        mounts += [
            f"mkdir -p {work}", f"mount -t tmpfs lab {work}",
            f"mkdir {work}/upper {work}/work {work}/root",
            f"mount -t overlay lab -o lowerdir={shlex.quote(lower)},upperdir={work}/upper,workdir={work}/work {work}/root",
        ]
        top = f"{work}/root"
    else:
        mounts += [f"mount --bind {top} {top}", f"mount -o remount,bind,ro {top}"]
    mounts += [
        f"mount --bind {shlex.quote(str(build))} {top}/build",
        f"mount -t proc proc {top}/proc",
        f"mount --rbind /dev {top}/dev",
        f"mount --rbind /sys {top}/sys",
        f"mount -t tmpfs tmpfs {top}/tmp",
    ]
    words = ["env", "-i", *(f"{k}={v}" for k, v in {**_ENVIRONMENT, **(env or {})}.items()), *command]
    mounts += [f"exec chroot {top} sh -c {shlex.quote(f'cd {shlex.quote(cwd)} && exec {shlex.join(words)}')}"]
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
            "sh", "-c", "\n".join(mounts)]


def call(root: Path, build: Path, command: Sequence[str], log: Path, what: str, cwd: str = "/build",
         layers: Sequence[Path] = (), env: Mapping[str, str] | None = None) -> None:
    """Run `command` in the tree; its output goes to `log`; raises LabError when it fails."""
    term.call(command_line(root, build, command, cwd, layers, env), log, what)
