# SPDX-License-Identifier: BSD-3-Clause
"""Where things are: the checkout, the cache, and what belongs to this checkout in it.

Several checkouts use one cache at the same time. What they share (root file system, kernels)
is made once under a lock and never changed afterwards; the rest is under `checkout/KEY`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

LAB_DIR = Path(__file__).resolve().parent.parent
CHECKOUT = LAB_DIR.parent.parent
CACHE = Path(os.environ.get("LAB_CACHE") or "/var/cache/rdma-bulk-lab").resolve()

KEY = f"{CHECKOUT.name}-{hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]}"
MINE = CACHE / "checkout" / KEY
LOGS = MINE / "logs"
BUILT_KERNELS = CACHE / "kernels"


def kernel_folders(option: str | None) -> list[Path]:
    """The folders with packages of other kernels than Debian's: the option's or $LAB_KERNEL_DIR, the lab's own, and then those
    beside the repository, `../shared/debug-kernel` and `../shared/uml-kernel` (a worktree's repository counts, too)."""
    chosen = option or os.environ.get("LAB_KERNEL_DIR")
    folders = [Path(chosen).resolve()] if chosen else []
    folders.append(BUILT_KERNELS)
    for place in (CHECKOUT.parent, CHECKOUT.parent.parent):
        beside = [place / "shared" / name for name in ("debug-kernel", "uml-kernel")]
        if any(folder.is_dir() for folder in beside):
            return folders + beside
    return folders
