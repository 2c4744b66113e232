# SPDX-License-Identifier: BSD-3-Clause
"""The Linux releases that the module is built for, oldest and newest included, by Debian's header packages.

Each is a layer of headers to lay over the root file system, fetched once into the cache, some 80 MB; what compiles is
Debian 13's compiler for all. So every run of the tests builds the module for kernels that it does not boot."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import debian, kernel, term
from .paths import CACHE
from .rootfs import Rootfs

# Release of Linux -> that of Debian which has it; Debian 13's own is in the root file system. The backports move on.
_DEBIAN = {"6.1": "bookworm", "6.12": debian.SUITE, "7.3": f"{debian.SUITE}-backports"}
RELEASES = tuple(_DEBIAN)

_PACKAGES = r"linux-(headers|kbuild)-[0-9].*"


@dataclass(frozen=True)
class Headers:
    """What a module is built against. `folder` is a layer over the root file system, `None` for what is in it."""

    release: str
    version: str
    folder: Path | None

    @property
    def flavour(self) -> str:
        return f"headers-{self.release}" if self.folder else kernel.STOCK

    def make_arguments(self) -> list[str]:
        return [f"KDIR=/lib/modules/{self.version}/build"]

    def layers(self, for_build: bool = False) -> list[Path]:
        return [self.folder] if self.folder else []


def headers(release: str, rootfs: Rootfs, logs: Path) -> Headers:
    """The headers of one of `RELEASES`, fetched now if they are not in the cache."""
    source = _DEBIAN[release]
    if source == debian.SUITE:
        return Headers(release, rootfs.stock_version(), None)
    folder = CACHE / f"headers-{release}-{hashlib.sha256(repr((source, _PACKAGES)).encode()).hexdigest()[:12]}"
    with term.locked(CACHE / "headers.lock", "it is fetching headers"):
        if not folder.is_dir():
            _fetch(release, source, folder, logs / f"headers-{release}.log")
    version = next((folder / "usr/lib/modules").iterdir()).name
    found = ".".join(version.split(".")[:2])
    if found != release:
        term.warn(f"Debian's {source} has Linux {version} by now: the module is built for it, not for {release} "
                  "(config/m4/bulk_kernel.m4 says what is supported)")
    return Headers(found, version, folder)


def _fetch(release: str, source: str, folder: Path, log: Path) -> None:
    term.say(f"fetching the headers of Linux {release} (once; log: {log})")
    part = folder.with_name(f"{folder.name}.part")
    subprocess.run(["rm", "-rf", str(part)], check=True)
    (part / "usr/lib").mkdir(parents=True)
    debian.download(part, source, ["linux-headers-amd64"], _PACKAGES, log)
    for package in sorted(part.glob("*.deb")):
        term.call(["dpkg-deb", "-x", package, part], log, f"unpacking {package.name}")
        package.unlink()
    if (part / "lib").is_dir():
        # Debian's /lib is a link to /usr/lib: a real /lib in a layer would hide it.
        (part / "lib/modules").rename(part / "usr/lib/modules")
        (part / "lib").rmdir()
    part.rename(folder)
