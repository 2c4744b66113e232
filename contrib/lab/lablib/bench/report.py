# SPDX-License-Identifier: BSD-3-Clause
"""What a bench leaves behind: samples.csv, bench.md and plots, in one folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from .figures import TARGETS, Figures, Spread
from .plan import Contender, Row, size_text
from .runner import Runner

_OURS = ("bulk", "bulk-default", "bulk-sleep", "bulk-local")
_TITLES = {"bandwidth": "Bandwidth", "latency": "Latency, one way", "messages": "Messages", "times": "Times",
           "processor": "Processor time, both hosts", "growth": "Growth with processes, per host",
           "memory": "Kernel memory of each object, client's host"}


@dataclass(frozen=True)
class Header:
    """Where and when it was measured."""

    commit: str
    date: str
    machine: str
    processors: int  # of each host
    kernel: str
    accelerator: str

    def text(self) -> str:
        return (f"Commit {self.commit}, {self.date}, {self.machine}; hosts: Linux {self.kernel}, "
                f"{self.processors} processor{'s' * (self.processors != 1)} each, {self.accelerator}")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if spread.least == spread.most:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.least)} to {_number(spread.most)})"


def write_csv(path: Path, header: Header, runner: Runner, rows: list[Row]) -> None:
    units = {row.name: row.unit for row in rows}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["commit", "date", "kernel", "round", "row", "contender", "metric", "value", "unit"])
        for one in runner.samples:
            writer.writerow([header.commit, header.date, header.kernel, one.round, one.row, one.contender, one.metric, one.value, units[one.row]])


def _table(figures: Figures, rows: list[Row], metric: str) -> list[str]:
    """A row of the table for each row, a column for each contender, and below each peer's figure what bulk is of it."""
    names = list(dict.fromkeys(name for row in rows for name in row.jobs))
    lines = ["| |" + "|".join(f" {name} " for name in names) + "|", "|---|" + "---|" * len(names)]
    for row in rows:
        ours = next((name for name in _OURS if name in row.jobs), "")
        cells = []
        for name in names:
            text = _cell(figures.spread(row.name, name, metric))
            if name not in _OURS and (ratio := figures.ratio(row.name, ours, name, metric)):
                text += f"<br>x {_cell(ratio)}"
            cells.append(text)
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return lines


def _tables(figures: Figures, rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for group, title in _TITLES.items():
        members = [row for row in rows if row.group == group]
        if not members:
            continue
        lines += ["", f"## {title}"]
        for key in dict.fromkeys((row.metrics, row.unit) for row in members):
            same = [row for row in members if (row.metrics, row.unit) == key]
            for metric in key[0]:
                what = "" if metric in ("value", "cpu", "bandwidth", "rate") else f"{metric}, "
                better = "less is better" if same[0].less_is_better else "more is better"
                lines += ["", f"{what}{key[1] + ', ' if key[1] else ''}{better}:", "", *_table(figures, same, metric)]
    return lines


def _verdict(figures: Figures, runner: Runner, rows: list[Row]) -> list[str]:
    if runner.disturbed:
        return ["", "No verdict: this machine was disturbed.", "", *(f"- {line}" for line in runner.disturbed)]
    lines = ["", "| target | row | wanted | median ratio, or figure in bytes (least to most) | reached |", "|---|---|---|---|---|"]
    for target in TARGETS:
        wanted = f"{'at least' if target.at_least else 'at most'} {_number(target.bound)}"
        for row, ratio, reached in target.judge(figures, [row.name for row in rows]):
            lines.append(f"| {target.text} | {row} | {wanted} | {_cell(ratio)} | {'yes' if reached else 'no'} |")
    return lines if len(lines) > 3 else ["", "None of the rows has a target."]


def write_markdown(path: Path, header: Header, runner: Runner, rows: list[Row]) -> None:
    figures = Figures(runner.samples)
    used = [who for who in runner.contenders.values() if any(who.name in row.jobs for row in rows)]
    lines = [
        "# lab bench", "",
        f"{header.text()}; {runner.rounds} round{'s' * (runner.rounds != 1)}.", "",
        "Each figure: median (least to most) of the rounds. Under a peer's: bulk's divided by it, of the same round each; bulk is the first "
        "of its columns that the row has. Emulation and software RDMA distort: only ratios within one table mean anything, and none says how "
        "fast an adapter is.", "",
        "## Targets", *_verdict(figures, runner, rows), *_tables(figures, rows), "", "## Contenders", "",
        *(f"- {_described(who)}" for who in used)]
    if runner.failures:
        lines += ["", "## Failed", "", *(f"- {row}, {name}: {why.splitlines()[0]}" for (row, name), why in runner.failures.items())]
    path.write_text("\n".join(lines) + "\n")


def _described(who: Contender) -> str:
    how = {"ucx": "ucx_perftest or ucp_bench", "verbs": "perftest", "rds": "rds_bench", "channel": "channel_bench", "mpi": "Open MPI's own messages (ob1) over TCP"}[who.kind]
    environment = " ".join(f"{name}={value}" for name, value in who.environment.items() if name != "gid")
    notes = [how, *([f"`{environment}`"] if environment else []), *(["sleeps in poll()"] if who.sleeps else []), *(["both ends on one host"] if who.local else [])]
    return f"**{who.name}**: {', '.join(notes)}"


def write_plots(folder: Path, runner: Runner, rows: list[Row]) -> list[Path]:
    """An SVG for each operation's bandwidth over size, for latency, set-up, and growth with processes."""
    import matplotlib  # installed by the lab for this command alone

    matplotlib.use("svg")
    from matplotlib import pyplot

    figures = Figures(runner.samples)
    made = []

    def save(figure: object, name: str) -> None:
        path = folder / f"{name}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})  # type: ignore[attr-defined]
        pyplot.close(figure)
        made.append(path)

    def lines(members: list[Row], metric: str, title: str, unit: str, name: str, x_label: str) -> None:
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        for who in dict.fromkeys(name for row in members for name in row.jobs):
            points = [(row.size, spread) for row in members if (spread := figures.spread(row.name, who, metric))]
            if points:
                middle = [spread.median for _, spread in points]
                axes.errorbar([x for x, _ in points], middle,
                              yerr=[[spread.median - spread.least for _, spread in points], [spread.most - spread.median for _, spread in points]],
                              label=who, marker="o", markersize=3, capsize=2, linewidth=2 if who in _OURS else 1)
        axes.set(title=title, xlabel=x_label, ylabel=unit, ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.set_xticks([row.size for row in members])
        axes.set_xticklabels([size_text(row.size) if x_label == "size" else str(row.size) for row in members], rotation=45)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        save(figure, name)

    def bars(members: list[Row], metric: str, title: str, unit: str, name: str) -> None:
        figure, axes = pyplot.subplots(figsize=(8, 4.5))
        labels, heights, errors, colours = [], [], [[], []], []  # type: ignore[var-annotated]
        for row in members:
            for who in row.jobs:
                if spread := figures.spread(row.name, who, metric):
                    labels.append(f"{who}\n{row.name}" if len(members) > 1 else who)
                    heights.append(spread.median)
                    errors[0].append(spread.median - spread.least)
                    errors[1].append(spread.most - spread.median)
                    colours.append("tab:blue" if who in _OURS else "tab:grey")
        axes.barh(labels[::-1], heights[::-1], xerr=[errors[0][::-1], errors[1][::-1]], color=colours[::-1], capsize=2)
        axes.set(title=title, xlabel=unit)
        axes.tick_params(axis="y", labelsize=7)
        save(figure, name)

    for operation in ("tag", "put", "get", "am"):
        if members := [row for row in rows if row.group == "bandwidth" and row.name == f"{operation} {size_text(row.size)}"]:
            lines(members, "value", f"{operation}: bandwidth", "MiB/s", f"bandwidth-{operation}", "size")
    if members := [row for row in rows if row.group == "latency" and row.size == 8]:
        bars(members, "latency_p50", "8 B, one way, median", "us", "latency")
    if members := [row for row in rows if row.name == "set-up"]:
        for metric, title in (("setup_first", "first endpoint"), ("setup_later", "later endpoint")):
            bars(members, metric, f"set-up: {title} with first message", "ms", metric.replace("_", "-"))
    if members := [row for row in rows if row.group == "growth"]:
        for metric, unit in (("queue_pairs", "queue pairs"), ("memory", "MiB")):
            lines(members, metric, f"P x P processes: {unit} per host", unit, f"growth-{metric.replace('_', '-')}", "P")
    return made
