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


def debug_kernels(option: str | None) -> Path:
    """The folder with the debug kernels' packages: the option's, else `../shared/debug-kernel`
    beside the repository (a worktree's repository counts, too)."""
    if option:
        return Path(option).resolve()
    places = [CHECKOUT.parent, CHECKOUT.parent.parent]
    for place in places:
        folder = place / "shared" / "debug-kernel"
        if folder.is_dir():
            return folder
    return places[0] / "shared" / "debug-kernel"
