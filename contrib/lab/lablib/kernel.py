# SPDX-License-Identifier: BSD-3-Clause
"""Kernels: Debian's own, and other flavours from packages made elsewhere.

For each: the image to boot, the headers to build modules against, an initrd, and for the other
flavours a disk image with their modules, laid over the root file system. The initrd is the lab's
own: busybox, the few modules a stock kernel needs to reach its disks, and `guest/init`, which lays
the disks over each other with memory on top, so that no host ever changes a disk image."""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from . import term
from .paths import CACHE, LAB_DIR
from .rootfs import Rootfs, make_image

STOCK = "stock"

# What a stock kernel cannot mount the root file system without.
_INITRD_MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay"]

_BUSYBOX_NAMES = ["sh", "mount", "umount", "mkdir", "cat", "insmod", "sleep", "switch_root", "echo", "poweroff", "tr"]


# The options of a kernel that looks for its own faults, which makes it slow.
_SANITIZERS = ("CONFIG_KASAN=y", "CONFIG_PROVE_LOCKING=y")


@dataclass(frozen=True)
class Kernel:
    """One bootable kernel. `headers` and `modules` are layers to lay over the root file system, `None`
    for the stock kernel, which is in it. `is_program`: user-mode Linux, `image` is what to run. `is_debug`: it looks for
    faults, and is slow."""

    flavour: str
    version: str
    image: Path
    initrd: Path
    headers: Path | None
    modules: Path | None
    modules_image: Path | None
    is_program: bool = False
    is_debug: bool = False

    @property
    def kdir(self) -> str:
        """The kernel build tree as seen from inside the root file system."""
        return f"/lib/modules/{self.version}/build"

    def make_arguments(self) -> list[str]:
        """What `make` needs to build a module for this kernel."""
        return [f"KDIR={self.kdir}", *(["ARCH=um", "SUBARCH=x86_64"] if self.is_program else [])]

    def layers(self, for_build: bool = False) -> list[Path]:
        """The folders this kernel lays over the root file system, uppermost first."""
        folders = [self.headers, self.modules] if for_build else [self.modules]
        return [folder for folder in folders if folder]

    def arguments(self) -> list[str]:
        """Boot arguments of this flavour."""
        return ["nokaslr"] if self.is_debug and not self.is_program else []


def flavours(folders: Sequence[Path]) -> dict[str, Path]:
    """The flavours with packages in `folders`, by name, each with its image package; of several the one found first."""
    found: dict[str, Path] = {}
    for folder in folders:
        here = {}
        for path in sorted(folder.glob("linux-image-*.deb")):
            match = re.fullmatch(r"linux-image-[\d.]+-([a-z][a-z-]*)_.*\.deb", path.name)
            if match and path.with_name(path.name.replace("linux-image", "linux-headers")).exists():
                here[match[1]] = path
        found = {**here, **found}
    return found


def get(flavour: str, folders: Sequence[Path], rootfs: Rootfs, logs: Path) -> Kernel:
    """The kernel of that name, prepared now if it is not in the cache."""
    if flavour == STOCK:
        return _stock(rootfs, logs)
    found = flavours(folders)
    if flavour not in found:
        names = ", ".join([STOCK, *found])
        where = ", ".join(f"{folder}" + ("" if folder.is_dir() else " (does not exist)") for folder in folders) or "no folder"
        raise term.LabError(f"no kernel '{flavour}'; there are: {names} (others are looked for in {where})", term.USAGE)
    return _packaged(flavour, found[flavour], rootfs, logs)


def _stock(rootfs: Rootfs, logs: Path) -> Kernel:
    version = rootfs.stock_version()
    initrd = rootfs.folder / f"initrd-{_init_hash()}.img"
    with term.locked(CACHE / "kernel.lock", "it is preparing a kernel"):
        if not initrd.exists():
            _make_initrd(rootfs, initrd, _stock_modules(rootfs, version))
    return Kernel(STOCK, version, rootfs.tree / f"boot/vmlinuz-{version}", initrd, None, None, None)


def _packaged(flavour: str, image_deb: Path, rootfs: Rootfs, logs: Path) -> Kernel:
    headers_deb = image_deb.with_name(image_deb.name.replace("linux-image", "linux-headers"))
    state = "".join(f"{deb.name} {deb.stat().st_size} {deb.stat().st_mtime_ns}\n" for deb in (image_deb, headers_deb))
    folder = CACHE / f"kernel-{flavour}-{hashlib.sha256(state.encode()).hexdigest()[:12]}"
    with term.locked(CACHE / "kernel.lock", "it is preparing a kernel"):
        if not folder.is_dir():
            log = logs / f"kernel-{flavour}.log"
            term.say(f"unpacking the {flavour} kernel")
            part = folder.with_suffix(".part")
            subprocess.run(["rm", "-rf", str(part)], check=True)
            (part / "modules/usr/lib").mkdir(parents=True)
            (part / "headers/usr/lib").mkdir(parents=True)
            term.call(["dpkg-deb", "-x", image_deb, part / "image"], log, f"unpacking {image_deb.name}")
            term.call(["dpkg-deb", "-x", headers_deb, part / "headers"], log, f"unpacking {headers_deb.name}")
            # Debian's /lib is a link to /usr/lib: a real /lib in a layer would hide it.
            _modules(part / "image").rename(part / "modules/usr/lib/modules")
            if (part / "headers/lib").is_dir():
                (part / "headers/lib/modules").rename(part / "headers/usr/lib/modules")
                (part / "headers/lib").rmdir()
            make_image(part / "modules", part / "modules.img", log)
            part.rename(folder)
        initrd = folder / f"initrd-{_init_hash()}.img"
        if not initrd.exists():
            _make_initrd(rootfs, initrd, list((folder / "modules").rglob("loop.ko")))
    config = next((folder / "image/boot").glob("config-*"))
    version = config.name.removeprefix("config-")
    options = config.read_text().splitlines()
    is_program = "CONFIG_UML=y" in options
    image = config.with_name(f"{'linux' if is_program else 'vmlinuz'}-{version}")
    return Kernel(flavour, version, image, initrd, folder / "headers", folder / "modules", folder / "modules.img", is_program,
                  is_debug=any(option in options for option in _SANITIZERS))


def _modules(image: Path) -> Path:
    """The folder of modules in an unpacked image package."""
    old = image / "lib/modules"
    return old if old.is_dir() else image / "usr/lib/modules"


def _stock_modules(rootfs: Rootfs, version: str) -> list[Path]:
    """The module files an initrd of the stock kernel needs, in loading order."""
    listing = subprocess.run(
        ["chroot", str(rootfs.tree), "modprobe", "-S", version, "--show-depends", "-a", *_INITRD_MODULES],
        check=True, capture_output=True, text=True).stdout
    files = [line.split()[1] for line in listing.splitlines() if line.startswith("insmod ")]
    return [rootfs.tree / name.lstrip("/") for name in dict.fromkeys(files)]


def _init_hash() -> str:
    return hashlib.sha256((LAB_DIR / "guest/init").read_bytes() + repr((_INITRD_MODULES, _BUSYBOX_NAMES)).encode()).hexdigest()[:8]


def _make_initrd(rootfs: Rootfs, initrd: Path, modules: list[Path]) -> None:
    archive = _Cpio()
    for name in ("bin", "dev", "proc", "sys", "layers", "rw", "new", "modules"):
        archive.folder(name)
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", (rootfs.tree / "usr/bin/busybox").read_bytes(), 0o755)
    for name in _BUSYBOX_NAMES:
        archive.link(f"bin/{name}", "busybox")
    names = []
    for module in modules:
        data = module.read_bytes()
        name = module.name
        if name.endswith(".xz"):
            data, name = lzma.decompress(data), name.removesuffix(".xz")
        archive.file(f"modules/{name}", data, 0o644)
        names.append(name)
    archive.file("modules/order", ("\n".join(names) + "\n").encode(), 0o644)
    archive.file("init", (LAB_DIR / "guest/init").read_bytes(), 0o755)
    part = initrd.with_suffix(".part")
    part.write_bytes(archive.finish())
    part.rename(initrd)


class _Cpio:
    """A writer of the one archive format the kernel unpacks (newc)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def _entry(self, name: str, mode: int, content: bytes = b"", rdev: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        fields = [self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *rdev, len(name) + 1, 0]
        self._data += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)

    def folder(self, name: str) -> None:
        self._entry(name, 0o040755)

    def file(self, name: str, content: bytes, mode: int) -> None:
        self._entry(name, 0o100000 | mode, content)

    def link(self, name: str, target: str) -> None:
        self._entry(name, 0o120777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        self._entry(name, 0o020600, rdev=(major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return bytes(self._data)
