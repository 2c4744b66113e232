# SPDX-License-Identifier: BSD-3-Clause
"""The Debian 13 root file system: a tree to build in, and a disk image of it to boot from.

It is pure Debian plus two accounts' ssh keys. Whatever is the lab's or the project's comes to the
hosts as another layer (see build.py), so this is made only when `packages.txt` or the recipe below
changes: about a minute, 1.3 GB for the tree and 1.4 GB for the image."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import debian, term
from .paths import CACHE, LAB_DIR

# Not of use in a lab: documentation, and the initrd (the lab makes a much smaller one).
_LEAVE_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
              "/etc/kernel/postinst.d/initramfs-tools"]

# Inside the tree, once the packages are there. $1 is the tree.
_CUSTOMIZE = r"""
set -eu
root=$1
mkdir -p $root/build
chroot $root useradd -m -u 1000 -s /bin/bash bulk
mkdir -p -m 700 $root/root/.ssh
chroot $root ssh-keygen -q -t ed25519 -N '' -C lab -f /root/.ssh/id_ed25519
cp $root/root/.ssh/id_ed25519.pub $root/root/.ssh/authorized_keys
cp -a $root/root/.ssh $root/home/bulk/.ssh
chroot $root chown -R bulk:bulk /home/bulk/.ssh
rm -f $root/etc/machine-id $root/etc/hostname
echo 1ab01ab01ab01ab01ab01ab01ab01ab0 > $root/etc/machine-id
chmod -x $root/etc/update-motd.d/* 2>/dev/null || true
rm -f $root/etc/systemd/system/getty.target.wants/*
ln -sf /lib/systemd/system/multi-user.target $root/etc/systemd/system/default.target
: > $root/etc/fstab
"""


@dataclass(frozen=True)
class Rootfs:
    """A finished root file system."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def image(self) -> Path:
        return self.folder / "base.img"

    @property
    def ssh_key(self) -> Path:
        return self.folder / "id_ed25519"

    def stock_version(self) -> str:
        """The release of the Debian kernel in the tree."""
        versions = sorted(path.name for path in (self.tree / "usr/lib/modules").iterdir())
        return versions[-1]


def _packages() -> list[str]:
    lines = (LAB_DIR / "packages.txt").read_text().splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def _recipe() -> str:
    text = repr((debian.SUITE, _LEAVE_OUT, _CUSTOMIZE, sorted(_packages())))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_image(folder: Path, image: Path, log: Path, spare_mb: int = 16) -> None:
    """A read-only ext4 image of `folder`, as large as needed."""
    kib = int(subprocess.run(["du", "-sk", "--apparent-size", str(folder)], check=True,
                             capture_output=True, text=True).stdout.split()[0])
    count = sum(1 for _ in folder.rglob("*"))
    size = kib + kib // 8 + count * 2 + spare_mb * 1024
    part = image.with_suffix(".part")
    part.unlink(missing_ok=True)
    term.call(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum", "-m", "0",
               "-N", str(count + 1024), "-E", "lazy_itable_init=1,nodiscard", "-d", folder, part, f"{size}k"],
              log, f"making a disk image of {folder.name}")
    part.rename(image)


def get(logs: Path) -> Rootfs:
    """The root file system of the present recipe, made now if it is not there."""
    folder = CACHE / f"rootfs-{_recipe()}"
    rootfs = Rootfs(folder)
    if folder.is_dir():
        return rootfs
    with term.locked(CACHE / "rootfs.lock", "it is making the root file system"):
        if folder.is_dir():
            return rootfs
        free = shutil.disk_usage(CACHE).free >> 20
        if free < 6000:
            raise term.LabError(f"{CACHE} has {free} MB free; the root file system needs 6000 (LAB_CACHE moves it)")
        log = logs / "rootfs.log"
        term.say(f"making the Debian 13 root file system in {CACHE} (once; log: {log})")
        part = CACHE / f"rootfs-{_recipe()}.part"
        subprocess.run(["rm", "-rf", "--one-file-system", str(part)], check=True)
        part.mkdir(parents=True)
        (part / "customize").write_text(
            "#!/bin/sh\n" + _CUSTOMIZE)
        (part / "customize").chmod(0o755)
        debian.make_tree(part / "tree", _packages(), _LEAVE_OUT, log, "making the root file system",
                         [f"--customize-hook={part}/customize \"$1\""])
        term.say("making its disk image")
        make_image(part / "tree", part / "base.img", log)
        shutil.copy(part / "tree/root/.ssh/id_ed25519", part / "id_ed25519")
        (part / "id_ed25519").chmod(0o600)
        part.rename(folder)
    return rootfs
