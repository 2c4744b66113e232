# SPDX-License-Identifier: BSD-3-Clause
"""Makes the lab's other kernels from Debian's packages, once for all checkouts.

What is compiled is configured by Linux's own defaults with files of `kernels/` over them, in a small Debian tree
that has what this takes. The packages that come out (or that Debian has) are kept in `kernels/NAME` of the cache, where
`--kernel NAME` finds them. ccache makes a second build, with a line changed, a matter of minutes."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import chroot, debian, term
from .paths import BUILT_KERNELS, CACHE, LAB_DIR

_WORK = CACHE / "kernel-build"
_FRAGMENTS = LAB_DIR / "kernels"
_MADE_FROM = "made-from"
_CCACHE = "ccache"

_TOOLS = ["gcc", "libc6-dev", "make", "bc", "bison", "flex", "libelf-dev", "libssl-dev", "libdw-dev", "pahole", "cpio", "kmod", "perl",
          "python3", "xz-utils", "ccache"]
_TOOLS_LEAVE_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*"]
_ENVIRONMENT = {
    "PATH": "/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin", "CCACHE_DIR": f"/build/{_CCACHE}", "CCACHE_MAXSIZE": "2G",
    "KBUILD_BUILD_USER": "lab", "KBUILD_BUILD_HOST": "lab",
}

# In the tree that has the compiler. $1 is the kernel's own folder, $2 what make is told of the architecture.
_CONFIGURE = r"""
set -eu
cd "$1"
arch=$2 defaults=$3
shift 3
tar -xf source/usr/src/linux-source-*.tar.xz --one-top-level=linux --strip-components=1
rm -r source
cd linux
make $arch $defaults
scripts/kconfig/merge_config.sh -m .config "$@"
make $arch olddefconfig
"""
_COMPILE = r"""
set -eu
cd "$1/linux"
make $2 -j"$(nproc)"
"""
# $3: the version of the source's package. Linux makes packages by itself, too, but not all that this needs of user-mode Linux.
_PACKAGE = r"""
set -eu
cd "$1/linux"
arch=$2 version=$3
release=$(make $arch -s kernelrelease)
mkdir -p ../image/boot ../headers/usr/lib/modules/$release
cp .config ../image/boot/config-$release
kernel=$(make $arch -s image_name)
case $kernel in *bzImage) name=vmlinuz ;; *) name=linux ;; esac
cp $kernel ../image/boot/$name-$release
make $arch modules_install INSTALL_MOD_PATH=../image/usr
rm -f ../image/usr/lib/modules/$release/build ../image/usr/lib/modules/$release/source

build=../headers/usr/src/linux-headers-$release
install="scripts/package/install-extmod-build $build"
make $arch run-command KBUILD_RUN_COMMAND="$install"
case $arch in *ARCH=um*)  # its headers are x86's in part
    make $arch run-command KBUILD_RUN_COMMAND="env SRCARCH=x86 $install"
    find arch/x86/um -name '*.h' -exec cp --parents -t $build {} + ;;
esac
cp .config $build
ln -s /usr/src/linux-headers-$release ../headers/usr/lib/modules/$release/build

for kind in image headers; do
    mkdir ../$kind/DEBIAN
    printf '%s\n' "Package: linux-$kind-$release" "Version: $version" "Architecture: amd64" \
        "Maintainer: rdma-bulk lab <root@localhost>" "Description: Linux $release for the lab of rdma-bulk" > ../$kind/DEBIAN/control
    dpkg-deb --root-owner-group -Zgzip --build ../$kind ../packages
done
"""


@dataclass(frozen=True)
class Packages:
    """A kernel's Debian packages: those with the kernel and its modules, and those that a module is built with."""

    image: tuple[Path, ...]
    headers: tuple[Path, ...]


@dataclass(frozen=True)
class Recipe:
    """How a kernel is made: Debian's release that has the source, what make is told of the architecture, Linux's own
    configurations and those of the lab that go over them. Without these it is Debian's own kernel of that release."""

    release: str
    what: str
    arch: str = ""
    defaults: str = ""
    fragments: tuple[str, ...] = ()

    def digest(self) -> str:
        """What tells whether a kernel was made by this recipe."""
        texts = [(_FRAGMENTS / f"{name}.config").read_text() for name in self.fragments]
        return hashlib.sha256(repr((self.release, self.arch, self.defaults, texts)).encode()).hexdigest()[:12]


_NEW = f"{debian.SUITE}-backports"
_UM = ("ARCH=um SUBARCH=x86_64", "defconfig")
_QEMU = ("ARCH=x86_64", "x86_64_defconfig kvm_guest.config")

RECIPES = {
    "um": Recipe(_NEW, "user-mode Linux: kernel and programs run natively", *_UM, ("um",)),
    "um-kasan": Recipe(_NEW, "user-mode Linux with KASAN, UBSAN and fault injection", *_UM, ("um", "um-kasan")),
    "kasan": Recipe(debian.SUITE, "for QEMU, with KASAN, UBSAN, kmemleak and fault injection", *_QEMU, ("debug", "kasan")),
    "lockdep": Recipe(debian.SUITE, "for QEMU, with lockdep, debug objects, kmemleak and fault injection", *_QEMU, ("debug", "lockdep")),
    "bookworm": Recipe("bookworm", "for QEMU, Debian 12's own kernel"),
    "backports": Recipe(_NEW, "for QEMU, Debian's own kernel of its backports"),
}


def build(name: str, again: bool, logs: Path) -> Path:
    """Make the kernel `name`, unless there is one by the same recipe or `again` is set; returns its folder of packages."""
    if name not in RECIPES:
        raise term.LabError(f"no kernel '{name}' to build; there are: {', '.join(RECIPES)}", term.USAGE)
    recipe, result = RECIPES[name], BUILT_KERNELS / name
    digest = recipe.digest()
    with term.locked(CACHE / "kernel-build.lock", "it is building a kernel"):
        if is_current(name) and not again:
            term.say(f"the kernel {name} is there: {source(name)}")
            return result
        work = _WORK / name
        for left in [path for path in _WORK.glob("*") if path.name != _CCACHE]:  # by a lab that was killed
            subprocess.run(["rm", "-rf", str(left)], check=True)
        try:
            _check_space(6000 if recipe.fragments else 1000)
            (work / "packages").mkdir(parents=True)
            log = logs / f"kernel-{name}.log"
            if recipe.fragments:
                made_from = _compile(name, recipe, work, log)
            else:
                made_from = _fetch(name, recipe, work, log)
            (work / "packages" / _MADE_FROM).write_text(f"{digest}\n{made_from}\n")
            _install(work / "packages", result)
        finally:
            subprocess.run(["rm", "-rf", str(work)], check=True)
    return result


def is_current(name: str) -> bool:
    """Is there a kernel `name` made by today's recipe?"""
    return _made_from(name)[:1] == [RECIPES[name].digest()]


def source(name: str) -> str:
    """The package that the kernel `name` in the cache was made from."""
    return _made_from(name)[1]


def built() -> dict[str, Packages]:
    """The kernels that have been made, by name."""
    found = {}
    for name in RECIPES:
        debs = sorted((BUILT_KERNELS / name).glob("*.deb"))
        headers = tuple(deb for deb in debs if deb.name.startswith(("linux-headers-", "linux-kbuild-")))
        if debs:
            found[name] = Packages(tuple(deb for deb in debs if deb not in headers), headers)
    return found


def _made_from(name: str) -> list[str]:
    try:
        return (BUILT_KERNELS / name / _MADE_FROM).read_text().splitlines()
    except FileNotFoundError:
        return []


def _check_space(need_mb: int) -> None:
    free = shutil.disk_usage(CACHE).free >> 20
    if free < need_mb:
        raise term.LabError(f"{CACHE} has {free} MB free; making this kernel needs {need_mb} (LAB_CACHE moves it)")


def _fetch(name: str, recipe: Recipe, work: Path, log: Path) -> str:
    term.say(f"fetching Debian's kernel of {recipe.release} (log: {log})")
    # All its parts have its version in their names, unlike what they depend on beside it.
    debian.download(work / "packages", recipe.release, ["linux-image-amd64", "linux-headers-amd64"], r"linux-[a-z]+-[0-9].*", log)
    return next((work / "packages").glob("linux-image-*.deb")).stem


def _compile(name: str, recipe: Recipe, work: Path, log: Path) -> str:
    tools = _tools(log)
    term.say(f"fetching Linux's source of {recipe.release} and configuring it")
    debian.download(work, recipe.release, ["linux-source"], r"linux-source-[0-9.]+", log)
    package = next(work.glob("linux-source-*.deb"))
    term.call(["dpkg-deb", "-x", package, work / "source"], log, f"unpacking {package.name}")
    fragments = [_FRAGMENTS / f"{fragment}.config" for fragment in recipe.fragments]
    for fragment in fragments:
        shutil.copy(fragment, work)
    inside = f"/build/{name}"

    def run(script: str, *arguments: str, what: str) -> None:
        chroot.call(tools, _WORK, ["nice", "sh", "-c", script, "sh", inside, recipe.arch, *arguments], log, what, env=_ENVIRONMENT)

    run(_CONFIGURE, recipe.defaults, *(f"{inside}/{fragment.name}" for fragment in fragments), what=f"configuring {package.stem}")
    _check_configuration(work / "linux/.config", fragments)
    term.say(f"compiling {package.stem} (7 to 15 minutes if two processors have nothing else to do; log: {log})")
    run(_COMPILE, what=f"compiling {package.stem}")
    run(_PACKAGE, package.stem.split("_")[1], what=f"packaging {package.stem}")
    return package.stem


def _tools(log: Path) -> Path:
    """A Debian tree with a compiler and what else a kernel needs to be built, made now if it is not there."""
    digest = hashlib.sha256(repr((debian.SUITE, _TOOLS, _TOOLS_LEAVE_OUT)).encode()).hexdigest()[:12]
    folder = CACHE / f"kernel-tools-{digest}"
    if not folder.is_dir():
        term.say(f"making a Debian tree to build kernels in (once; log: {log})")
        part = folder.with_suffix(".part")
        subprocess.run(["rm", "-rf", "--one-file-system", str(part)], check=True)
        debian.make_tree(part, _TOOLS, _TOOLS_LEAVE_OUT, log, "making a tree to build kernels in")
        (part / "build").mkdir()
        part.rename(folder)
    return folder


def _check_configuration(made: Path, fragments: list[Path]) -> None:
    """Linux drops silently what it cannot have: a sanitizer that is not there would find nothing."""
    lines = set(made.read_text().splitlines())
    wanted: dict[str, str] = {}
    for fragment in fragments:
        for line in fragment.read_text().splitlines():
            match = re.fullmatch(r"(CONFIG_\w+)=(.+)|# (CONFIG_\w+) is not set", line)
            if match:
                option = match[1] or match[3]
                wanted[option] = line if match[1] else ""
    lost = [line or f"{option} off" for option, line in wanted.items()
            if (line and line not in lines) or (not line and any(other.startswith(option + "=") for other in lines))]
    if lost:
        names = " and ".join(str(fragment) for fragment in fragments)
        raise term.LabError(f"this Linux does not take what {names} ask for:\n" + "\n".join(f"    {line}" for line in lost))


def _install(packages: Path, result: Path) -> None:
    """Put the new packages where the old ones are, if there are any."""
    old = result.with_suffix(".old")
    subprocess.run(["rm", "-rf", str(old)], check=True)
    result.parent.mkdir(exist_ok=True)
    if result.exists():
        result.rename(old)
    packages.rename(result)
    subprocess.run(["rm", "-rf", str(old)], check=True)
