# SPDX-License-Identifier: BSD-3-Clause
"""Building the checkout, natively inside the Debian tree, and the disk image that brings it to the hosts.

    build/src             the checkout's files, as git knows them (tracked, or new and not ignored)
    build/obj             the autotools build, out of tree
    build/kmod-FLAVOUR    the kernel sources and their objects, one folder per kernel
    build/stage           `make install DESTDIR`
    build/layer-FLAVOUR   stage, module and the lab's own guest files, as laid over Debian
    layer-FLAVOUR.img     the same as a disk image

All of it is below the checkout's own folder in the cache and incremental: files are copied when
they differ, with their time stamps, and files deleted in the checkout are deleted here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import chroot, term
from .kernel import Kernel
from .paths import CHECKOUT, LAB_DIR, MINE
from .rootfs import Rootfs, make_image

BUILD = MINE / "build"

_CONFIGURE = ["--prefix=/usr", "--libdir=/usr/lib/x86_64-linux-gnu", "--libexecdir=/usr/libexec",
              "--sysconfdir=/etc", "--localstatedir=/var", "--without-kernel-module", "--enable-lab-tests"]

_USER_SCRIPT = r"""
set -e
cd /build/src
if [ ! -e configure ] || [ configure.ac -nt configure ]; then ./autogen.sh; fi
compile() {
    mkdir -p /build/obj && cd /build/obj
    if ! [ -e config.status ] || ! [ -e Makefile ] || [ "$*" != "$(cat .lab-configured 2>/dev/null)" ]; then
        ../src/configure "$@" && echo "$*" > .lab-configured || return 1
    fi
    make -j"$(nproc)" 2>&1 && touch .lab-made
}
rm -f /build/obj/.lab-made
compile "$@" | tee /build/make.log
if ! [ -e /build/obj/.lab-made ] && grep -q 'No rule to make target' /build/make.log; then
    # A file is gone that objects of an earlier build depended on.
    rm -rf /build/obj
    compile "$@"
fi
[ -e /build/obj/.lab-made ]
cd /build/obj
rm -rf /build/stage
make install DESTDIR=/build/stage
"""


# Debian's sparse is older than Linux 7.3, which therefore does without it unless told to use it: it does not know
# __typeof_unqual__, nor can it evaluate every assertion (the compiler does). Linux 6.1 asks for the compiler of Debian 12.
_CHECKED = ["W=1", "C=1", "KBUILD_CHECKSRC=1", "CHECK=sparse -D__typeof_unqual__=__typeof__ '-D_Static_assert(...)='", "CC=gcc"]


class Target(Protocol):
    """What the kernel module is built for: a kernel, or the headers of one."""

    @property
    def flavour(self) -> str: ...

    @property
    def version(self) -> str: ...

    def make_arguments(self) -> list[str]: ...

    def layers(self, for_build: bool = False) -> list[Path]: ...


@dataclass(frozen=True)
class Layer:
    """What a build brings to a host: a folder, and its disk image."""

    folder: Path
    image: Path
    has_module: bool


def build(rootfs: Rootfs, kernel: Kernel, logs: Path, user_space: bool = True, with_module: bool = True) -> Layer:
    """Build everything for `kernel`; `user_space=False` keeps what was last installed of the rest,
    `with_module=False` leaves the kernel module out."""
    with term.locked(MINE / "build.lock", "it is building this checkout"):
        BUILD.mkdir(parents=True, exist_ok=True)
        files = _checkout_files()
        stage = BUILD / "stage"
        if (CHECKOUT / "configure.ac").exists():
            if user_space or not stage.is_dir():
                term.say("building libraries, programs and tests")
                sync(files, BUILD / "src")
                chroot.call(rootfs.tree, BUILD, ["nice", "sh", "-c", _USER_SCRIPT, "sh", *_CONFIGURE],
                            logs / "build.log", "building")
        else:
            term.say("no configure.ac in this checkout: no user space to build")
            subprocess.run(["rm", "-rf", str(stage)], check=True)
        module = _build_module(rootfs, kernel, files, logs) if with_module else None
        return _make_layer(rootfs, kernel, stage, module, logs)


def module_for(rootfs: Rootfs, target: Target, logs: Path) -> Path | None:
    """The kernel module alone. Raises LabError when there is a warning."""
    with term.locked(MINE / "build.lock", "it is building this checkout"):
        BUILD.mkdir(parents=True, exist_ok=True)
        return _build_module(rootfs, target, _checkout_files(), logs)


def unit_tests(rootfs: Rootfs, log: Path) -> int:
    """`make check` in the tree, all output to `log`; returns its status."""
    command = chroot.command_line(rootfs.tree, BUILD, ["make", "-k", "check"], "/build/obj")
    with open(log, "ab") as file:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                              preexec_fn=term.die_with_parent).returncode


def sync(files: list[str], target: Path, below: tuple[str, ...] = ()) -> None:
    """Make `target` hold exactly the checkout's `files` (those under the folders `below`, if given)
    beside whatever was built in it."""
    if below:
        files = [name for name in files if name.startswith(tuple(folder + "/" for folder in below))]
    target.mkdir(parents=True, exist_ok=True)
    manifest = target / ".lab-files"
    before = set(manifest.read_text().splitlines()) if manifest.exists() else set()
    for name in before - set(files):
        (target / name).unlink(missing_ok=True)
    for name in files:
        source, copy = CHECKOUT / name, target / name
        there = copy.lstat() if copy.is_symlink() or copy.exists() else None
        here = source.lstat()
        if there and there.st_size == here.st_size and there.st_mtime_ns == here.st_mtime_ns \
                and there.st_mode == here.st_mode:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        shutil.copy2(source, copy, follow_symlinks=False)
    manifest.write_text("\n".join(files) + "\n")


def _checkout_files() -> list[str]:
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), "ls-files", "-co", "--exclude-standard", "-z"],
        check=True, capture_output=True, text=True).stdout
    names = sorted(set(listing.split("\0")) - {""})
    return [name for name in names if os.path.lexists(CHECKOUT / name) and not (CHECKOUT / name).is_dir()]


def _build_module(rootfs: Rootfs, kernel: Target, files: list[str], logs: Path) -> Path | None:
    """The kernel module, with sparse and W=1; a warning is an error. `None` if there is no source yet."""
    if not (CHECKOUT / "src/kernel/Makefile").exists():
        term.say("no src/kernel/Makefile in this checkout: no kernel module to build")
        return None
    term.say(f"building rdma_bulk.ko for {kernel.version} (W=1, sparse)")
    folder = BUILD / f"kmod-{kernel.flavour}"
    sync(files, folder, ("src/kernel", "src/uapi"))
    log = logs / f"module-{kernel.flavour}.log"
    start = log.stat().st_size if log.exists() else 0
    inside = f"/build/{folder.name}/src/kernel"
    make = ["nice", "make", "-C", inside, *kernel.make_arguments()]
    layers = kernel.layers(for_build=True)
    chroot.call(rootfs.tree, BUILD, [*make, f"-j{os.cpu_count()}", *_CHECKED], log, "building rdma_bulk.ko", layers=layers)
    with open(log, "rb") as file:
        file.seek(start)
        text = file.read().decode(errors="replace")
    warnings = [line for line in text.splitlines() if re.search(r"\b(warning|error):|^WARNING:", line)
                and "Skipping BTF" not in line and "the compiler differs" not in line]
    if warnings:
        # The next build must warn again, so it has to compile again.
        for built in folder.rglob("*.o"):
            built.unlink()
        raise term.LabError("rdma_bulk.ko builds with warnings:\n" + "\n".join("    " + line for line in warnings)
                            + f"\n(the whole log: {log})")
    modules = list((folder / "src/kernel").glob("rdma_bulk.ko"))
    if not modules:
        raise term.LabError(f"src/kernel built no rdma_bulk.ko (log: {log})")
    return modules[0]


def _make_layer(rootfs: Rootfs, kernel: Kernel, stage: Path, module: Path | None, logs: Path) -> Layer:
    log = logs / "layer.log"
    folder = BUILD / f"layer-{kernel.flavour}"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir()
    if stage.is_dir():
        # A real /lib in the layer would hide Debian's link of that name.
        term.call(["cp", "-al", f"{stage}/.", folder], log, "copying the installed files")
        for name in ("bin", "sbin", "lib", "lib64"):
            if (folder / name).is_dir():
                (folder / "usr").mkdir(exist_ok=True)
                term.call(["cp", "-al", f"{folder}/{name}/.", f"{folder}/usr/{name}/"], log, f"moving /{name} to /usr")
                term.call(["rm", "-rf", folder / name], log, f"moving /{name} to /usr")
    term.call(["cp", "-a", "--no-preserve=ownership", f"{LAB_DIR}/guest/root/.", folder], log,
              "copying the lab's own files")
    for unit in (LAB_DIR / "guest/masked-units").read_text().splitlines():
        if unit and not unit.startswith("#"):
            (folder / "etc/systemd/system" / unit).symlink_to("/dev/null")
    if module:
        updates = folder / f"usr/lib/modules/{kernel.version}/updates"
        updates.mkdir(parents=True)
        inside = Path("/build") / module.relative_to(BUILD)
        chroot.call(rootfs.tree, BUILD, ["strip", "--strip-debug", "-o", f"{inside}.stripped", str(inside)], log, "stripping the module")
        module.with_name(module.name + ".stripped").rename(updates / module.name)
        index = BUILD / f"depmod-{kernel.flavour}"
        subprocess.run(["rm", "-rf", str(index)], check=True)
        index.mkdir()
        chroot.call(rootfs.tree, BUILD, ["sh", "-ec", f"depmod -a {kernel.version}; "
                                         f"cp /lib/modules/{kernel.version}/modules.* /build/{index.name}/"],
                    log, "indexing the modules", layers=[folder, *kernel.layers()])
        for file in index.iterdir():
            file.rename(updates.parent / file.name)
    image = MINE / f"layer-{kernel.flavour}.img"
    # A running session keeps the image it has open: the new one takes the name only.
    make_image(folder, image, log, spare_mb=4)
    return Layer(folder, image, module is not None)


def last(kernel: Kernel) -> Layer:
    """What was last built for `kernel`."""
    layer = Layer(BUILD / f"layer-{kernel.flavour}", MINE / f"layer-{kernel.flavour}.img",
                  any((BUILD / f"layer-{kernel.flavour}").glob("usr/lib/modules/*/updates/rdma_bulk.ko")))
    if not layer.image.exists():
        raise term.LabError(f"nothing has been built for the {kernel.flavour} kernel yet", term.USAGE)
    return layer


def contents(folder: Path) -> dict[str, str]:
    """What each file below `folder` holds, as a digest or a link's target."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
