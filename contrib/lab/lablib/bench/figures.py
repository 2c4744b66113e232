# SPDX-License-Identifier: BSD-3-Clause
"""From samples to medians, ratios and verdicts."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass

from .runner import Sample


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Figures:
    """Samples by row, contender and metric; rounds keep their order."""

    def __init__(self, samples: list[Sample]) -> None:
        self._values: dict[tuple[str, str, str], dict[int, float]] = {}
        for one in samples:
            self._values.setdefault((one.row, one.contender, one.metric), {})[one.round] = one.value

    def spread(self, row: str, contender: str, metric: str) -> Spread | None:
        values = self._values.get((row, contender, metric))
        return Spread.of(list(values.values())) if values else None

    def ratio(self, row: str, contender: str, peer: str, metric: str) -> Spread | None:
        """`contender` divided by `peer`, of the same round each."""
        ours = self._values.get((row, contender, metric), {})
        theirs = self._values.get((row, peer, metric), {})
        ratios = [ours[turn] / theirs[turn] for turn in ours if theirs.get(turn)]
        return Spread.of(ratios) if ratios else None


@dataclass(frozen=True)
class Target:
    """`contender` shall be at least or at most `bound` times the best of `peers`, in every row that matches;
    without peers at least or at most `bound`, in the row's unit."""

    text: str
    rows: str  # regular expression
    metric: str
    contender: str
    peers: tuple[str, ...]
    at_least: bool
    bound: float

    def judge(self, figures: Figures, rows: list[str]) -> list[tuple[str, Spread, bool]]:
        """Row, ratio (without peers the figure itself), reached. The median of the rounds decides."""
        judged = []
        for row in rows:
            if not re.fullmatch(self.rows, row):
                continue
            found = ([figures.ratio(row, self.contender, peer, self.metric) for peer in self.peers] if self.peers
                     else [figures.spread(row, self.contender, self.metric)])
            ratios = [ratio for ratio in found if ratio]
            if ratios:
                worst = (min if self.at_least else max)(ratios, key=lambda ratio: ratio.median)
                judged.append((row, worst, worst.median >= self.bound if self.at_least else worst.median <= self.bound))
        return judged


_LARGE = r"(64|128|256|512) KiB|(1|2|4|8|16) MiB"

TARGETS = [
    *(Target(f"bandwidth against rc_verbs, {how}", rf"(tag|put|get|am) ({_LARGE})", "value", who, ("rc_verbs",), True, 1.5)
      for how, who in (("polling", "bulk"), ("by default", "bulk-default"))),
    *(Target(f"put and get against raw verbs, {how}", r"(put|get) 1 MiB", "value", who, ("verbs", "verbs-e"), True, 0.95)
      for how, who in (("polling", "bulk"), ("by default", "bulk-default"))),
    Target("write and read against RDS", r"(put|get) (64 KiB|1 MiB)", "value", "bulk-default", ("rds",), True, 1.3),
    Target("processor time against ib_send_bw -e", r"processor time, tag .*", "cpu", "bulk-sleep", ("verbs-e",), False, 1.1),
    Target("processor time against rc_verbs", r"processor time, .*", "cpu", "bulk-default", ("rc_verbs",), False, 0.5),
    Target("latency 8 B, polling, against rc_verbs", r"latency 8 B, polling", "latency_p50", "bulk", ("rc_verbs",), False, 1.0),
    Target("latency 8 B, by default, against rc_verbs", r"latency 8 B, polling", "latency_p50", "bulk-default", ("rc_verbs",), False, 1.0),
    Target("latency 8 B, sleeping, against ib_send_lat -e", r"latency 8 B, sleeping", "latency_p50", "bulk-sleep", ("verbs-e",), False, 1.3),
    *(Target(f"message rate against rc_verbs, {how}", r"8 B messages, .*", "rate", who, ("rc_verbs",), True, 1.5)
      for how, who in (("polling", "bulk"), ("by default", "bulk-default"))),
    Target("later endpoint with first message against rc_verbs", r"set-up", "setup_later", "bulk-default", ("rc_verbs",), False, 1 / 50),
    Target("first endpoint of a process against rc_verbs", r"set-up", "setup_first", "bulk-default", ("rc_verbs",), False, 1 / 5),
    Target("queue pairs per host against rc_verbs", r"(16|32) x .*", "queue_pairs", "bulk-default", ("rc_verbs",), False, 1 / 16),
    Target("MPI start against rc_verbs", r"MPI start.*", "total", "bulk-default", ("rc_verbs",), False, 1 / 3),
    Target("put on one host against UCX sm", r"put 1 MiB, one host", "value", "bulk-local", ("sm-local",), True, 0.9),
    Target("kernel memory of an endpoint, bytes", r"kernel memory", "endpoint_memory", "channel", (), False, 1 << 10),
    Target("kernel memory of an endpoint alone on its remote channel, bytes", r"kernel memory", "endpoint_memory_alone", "channel", (), False, 1 << 10),
    Target("kernel memory of a channel, bytes", r"kernel memory", "channel_memory", "channel", (), False, 8 << 20),
    Target("kernel memory of a channel with all slots, bytes", r"kernel memory", "channel_memory_most", "channel", (), False, 8 << 20),
]
