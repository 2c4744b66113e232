# SPDX-License-Identifier: BSD-3-Clause
"""Debian's archive: trees of packages, and single packages, by mmdebstrap.

The lab names no mirror: mmdebstrap knows Debian's own, and $LAB_MIRROR another. Suites are those of apt; the backports of
one are taken from where the suite itself comes from."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path
from typing import Sequence

from . import term

SUITE = "trixie"  # Debian 13
_BACKPORTS = "-backports"

_APT = ["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]

# Adds the backports of suite $2 to the sources of the tree $1, beside the suite's own unless they are named there already.
_ADD_BACKPORTS = r"""
set -eu
grep -qrw "$2-backports" "$1/etc/apt" && exit
sed -n "s/^\(deb .*[^ ]\) \+$2 \(.*\)/\1 $2-backports \2/p" "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/backports.list"
[ -s "$1/etc/apt/sources.list.d/backports.list" ] || { echo "no line for $2 in \$LAB_MIRROR to make one for $2-backports of"; exit 1; }
"""

# Downloads those packages that the pattern $2 matches among $3... and all that they depend on. $1: options of apt.
_DOWNLOAD = r"""
set -eu
options=$1 pattern=$2
shift 2
names=$(apt-cache $options depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
            --no-enhances "$@" | grep -E "^($pattern)$" | sort -u)
[ -n "$names" ] || { echo "there is no package $pattern that $* needs"; exit 1; }
apt-get $options -o APT::Sandbox::User=root download $names
"""


def mirrors() -> list[str]:
    """Where packages come from: what $LAB_MIRROR says, else mmdebstrap's own choice, security updates among it."""
    return os.environ.get("LAB_MIRROR", "").splitlines()


def make_tree(target: Path, packages: Sequence[str], leave_out: Sequence[str], log: Path, what: str,
              options: Sequence[str] = ()) -> None:
    """A tree of Debian 13 with `packages` at `target`, without the files that match `leave_out`."""
    term.call(["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}", *_APT,
               *(f"--dpkgopt=path-exclude={pattern}" for pattern in leave_out), "--dpkgopt=force-unsafe-io",
               *options, SUITE, target, *mirrors()], log, what)


def download(folder: Path, release: str, packages: Sequence[str], pattern: str, log: Path) -> None:
    """Download into `folder` those packages whose names match the regular expression `pattern` among `packages` of
    `release` (a suite with its updates, or its backports) and all that they depend on. Nothing is installed."""
    suite = release.removesuffix(_BACKPORTS)
    options = f"-t {release}" if release != suite else ""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        Path(work, "add-backports").write_text(_ADD_BACKPORTS)
        Path(work, "download").write_text(_DOWNLOAD)
        words = shlex.join(["sh", f"{work}/download", options, pattern, *packages])
        hooks = [f"--customize-hook=cd {shlex.quote(str(folder))} && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG {words}"]
        if release != suite:
            hooks.append(f"--setup-hook=sh {shlex.quote(work)}/add-backports \"$1\" {suite}")
        term.call(["mmdebstrap", "--mode=root", "--variant=custom", *_APT, *hooks, suite, f"{work}/tree", *mirrors()],
                  log, f"downloading {', '.join(packages)} of {release} (from Debian, or from $LAB_MIRROR)")
