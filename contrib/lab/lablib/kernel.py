# SPDX-License-Identifier: BSD-3-Clause
"""Kernels: Debian's own, and other flavours from packages that `lab kernel build` has made or that were made elsewhere.

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

from . import chroot, kernel_build, term
from .kernel_build import Packages
from .paths import BUILT_KERNELS, CACHE, LAB_DIR
from .rootfs import Rootfs, make_image

STOCK = "stock"

# What a kernel cannot mount the root file system without, under QEMU and in user-mode Linux, as far as it is not built in.
_QEMU_MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay"]
_UML_MODULES = ["loop", "ext4", "overlay"]

# Says how kernels are unpacked in the cache: another way makes other folders.
_LAYOUT = "linux, config, modules with an index, headers\n"

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


def flavours(folders: Sequence[Path]) -> dict[str, Packages]:
    """The flavours with packages in `folders`, by name; of several the one found first."""
    found: dict[str, Packages] = {}
    for folder in folders:
        here = kernel_build.built() if folder == BUILT_KERNELS else _packages_in(folder)
        found = {**here, **found}
    return found


def _packages_in(folder: Path) -> dict[str, Packages]:
    """The flavours in a folder of packages made elsewhere: a pair of packages each, whose names tell it."""
    found = {}
    for image in sorted(folder.glob("linux-image-*.deb")):
        match = re.fullmatch(r"linux-image-[\d.]+-([a-z][a-z-]*)_.*\.deb", image.name)
        headers = image.with_name(image.name.replace("linux-image", "linux-headers"))
        if match and headers.exists():
            found[match[1]] = Packages((image,), (headers,))
    return found


def get(flavour: str, folders: Sequence[Path], rootfs: Rootfs, logs: Path) -> Kernel:
    """The kernel of that name, prepared now if it is not in the cache."""
    if flavour == STOCK:
        return _stock(rootfs, logs)
    packages = find(flavour, folders)
    if not packages:
        kernel_build.build(flavour, False, logs)
        packages = kernel_build.built()[flavour]
    return _packaged(flavour, packages, rootfs, logs)


def find(flavour: str, folders: Sequence[Path]) -> Packages | None:
    """The packages of that kernel; `None` for Debian's own, which need no time to have. Raises LabError, with what to do,
    where there can be none now."""
    found = flavours(folders)
    if flavour in found:
        return found[flavour]
    recipe = kernel_build.RECIPES.get(flavour)
    if flavour == STOCK or (recipe and not recipe.fragments):
        return None
    if recipe:
        raise term.LabError(f"there is no kernel '{flavour}' yet; 'lab kernel build {flavour}' makes it", term.USAGE)
    names = ", ".join(dict.fromkeys([STOCK, *kernel_build.RECIPES, *found]))
    raise term.LabError(f"no kernel '{flavour}'; there are: {names} ('lab kernel list' tells more)", term.USAGE)


def _stock(rootfs: Rootfs, logs: Path) -> Kernel:
    version = rootfs.stock_version()
    initrd = rootfs.folder / f"initrd-{_init_hash()}.img"
    with term.locked(CACHE / "kernel.lock", "it is preparing a kernel"):
        if not initrd.exists():
            _make_initrd(rootfs, initrd, _boot_modules(rootfs, version, _QEMU_MODULES))
    return Kernel(STOCK, version, rootfs.tree / f"boot/vmlinuz-{version}", initrd, None, None, None)


def _packaged(flavour: str, packages: Packages, rootfs: Rootfs, logs: Path) -> Kernel:
    state = "".join(f"{deb.name} {deb.stat().st_size} {deb.stat().st_mtime_ns}\n" for deb in packages.image + packages.headers)
    folder = CACHE / f"kernel-{flavour}-{hashlib.sha256((_LAYOUT + state).encode()).hexdigest()[:12]}"
    with term.locked(CACHE / "kernel.lock", "it is preparing a kernel"):
        if not folder.is_dir():
            term.say(f"unpacking the {flavour} kernel")
            part = folder.with_suffix(".part")
            subprocess.run(["rm", "-rf", str(part)], check=True)
            part.mkdir()
            _unpack(packages, part, rootfs, logs / f"kernel-{flavour}.log")
            part.rename(folder)
        version = next((folder / "modules/usr/lib/modules").iterdir()).name
        options = (folder / "config").read_text().splitlines()
        is_program = "CONFIG_UML=y" in options
        initrd = folder / f"initrd-{_init_hash()}.img"
        if not initrd.exists():
            names = _UML_MODULES if is_program else _QEMU_MODULES
            _make_initrd(rootfs, initrd, _boot_modules(rootfs, version, names, folder))
    return Kernel(flavour, version, folder / "linux", initrd, folder / "headers", folder / "modules", folder / "modules.img",
                  is_program, is_debug=any(option in options for option in _SANITIZERS))


def _unpack(packages: Packages, part: Path, rootfs: Rootfs, log: Path) -> None:
    """Sort what is in the packages into the kernel, its configuration, and two layers to lay over the root file system."""
    for deb in packages.image:
        term.call(["dpkg-deb", "-x", deb, part / "image"], log, f"unpacking {deb.name}")
    for deb in packages.headers:
        term.call(["dpkg-deb", "-x", deb, part / "headers"], log, f"unpacking {deb.name}")
    # Debian's /lib is a link to /usr/lib: a real /lib in a layer would hide it.
    for old, new in (("image/lib", "modules/usr/lib"), ("image/usr/lib", "modules/usr/lib"), ("headers/lib", "headers/usr/lib")):
        if (part / old / "modules").is_dir():
            (part / new).mkdir(parents=True, exist_ok=True)
            (part / old / "modules").rename(part / new / "modules")
    if (part / "headers/lib").is_dir():
        (part / "headers/lib").rmdir()
    modules = next((part / "modules/usr/lib/modules").iterdir())
    places = [*part.glob("image/boot/*"), modules / "config", modules / "vmlinuz"]
    for name, pattern in (("config", r"config(-.*)?"), ("linux", r"(vmlinuz|linux)(-.*)?")):
        next(path for path in places if re.fullmatch(pattern, path.name) and path.is_file()).rename(part / name)
    subprocess.run(["rm", "-rf", str(part / "image")], check=True)
    chroot.call(rootfs.tree, part, ["depmod", "-b", "/build/modules/usr", modules.name], log, "indexing the modules")
    make_image(part / "modules", part / "modules.img", log)


def _boot_modules(rootfs: Rootfs, version: str, names: list[str], folder: Path | None = None) -> list[Path]:
    """The files of the modules `names` and of what they depend on, in loading order; those in the root file system or in a kernel
    unpacked in `folder`."""
    base = ["-d", "/build/modules/usr"] if folder else []
    command = ["modprobe", *base, "-S", version, "--show-depends", "-a", *names]
    listing = subprocess.run(chroot.command_line(rootfs.tree, folder or rootfs.folder, command), check=True, capture_output=True,
                             text=True).stdout
    files = [line.split()[1] for line in listing.splitlines() if line.startswith("insmod ")]
    return [folder / name.removeprefix("/build/") if folder else rootfs.tree / name.lstrip("/") for name in dict.fromkeys(files)]


def _init_hash() -> str:
    recipe = repr((_QEMU_MODULES, _UML_MODULES, _BUSYBOX_NAMES))
    return hashlib.sha256((LAB_DIR / "guest/init").read_bytes() + recipe.encode()).hexdigest()[:8]


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
