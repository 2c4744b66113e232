# SPDX-License-Identifier: BSD-3-Clause
"""`lab bench --curves`: does one more cost the same, however many lie idle beside it?

Runs channel_curves, once for each crowd (endpoints, remote channels, regions, ...). Written to one folder: curves.csv
(all figures), curves.md (for each crowd what an event costs, by the crowd's size, and whether that is flat) and
curves.svg: a panel for each event, a line for each crowd."""

from __future__ import annotations

import csv
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .. import pair, term
from ..programs import TESTS
from ..session import Session
from .plan import SERVER
from .report import Header
from .runner import STRANGE, Watch

_PROGRAM = f"{TESTS}/channel_curves"
_PORT = 18700
_BASE = 10  # crowd to which others are compared
_FLAT = 1.5  # times what it costs with a crowd of _BASE
_GROWTH = "growth"  # what the crowd itself took to make
_WORK = "_work"  # processor time of both hosts for the figure without this ending, or for several of them

CROWDS = {
    "endpoints": "endpoints to one remote channel",
    "remote": "remote channels, an endpoint each",
    "inbound": "channels, remote ones of the other host",
    "local": "endpoints within the host",
    "regions": "regions",
    "keys": "regions whose keys the other host has used",
    "waiting": "endpoints with a PUT each at once",
    "dying": "endpoints of a channel that dies",
}


@dataclass(frozen=True)
class Form:
    """How far the crowds grow, and for how long each event is measured."""

    most: int
    seconds: float

    @classmethod
    def of(cls, full: bool) -> Form:
        return cls(100_000, 1.0) if full else cls(1000, 0.1)

    @property
    def limit(self) -> float:
        """Seconds that one crowd may take."""
        return 1800 if self.most > 1000 else 300


@dataclass
class Curve:
    """What a figure was at each size of its crowd, in microseconds: one value for each round."""

    values: dict[int, list[float]] = field(default_factory=dict)

    def at(self, size: int) -> float | None:
        return statistics.median(self.values[size]) if size in self.values else None

    def times(self, size: int) -> float | None:
        """What it is there of what it is at _BASE."""
        here, base = self.at(size), self.at(_BASE)
        return here / base if here and base else None

    def worst(self) -> float | None:
        """The largest of these, of crowds that are larger."""
        return max((times for size in self.values if size > _BASE and (times := self.times(size))), default=None)


class Curves:
    """All figures, by crowd and name."""

    def __init__(self) -> None:
        self.curves: dict[tuple[str, str], Curve] = {}
        self.stopped: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.disturbed: list[str] = []

    def read(self, crowd: str, text: str) -> None:
        for name, size, value in re.findall(r"^result (\S+)@(\d+) ([-+.e\d]+) us", text, re.MULTILINE):
            self.curves.setdefault((crowd, name), Curve()).values.setdefault(int(size), []).append(float(value))
        if found := re.search(r"^stopped (\d+) (.*)", text, re.MULTILINE):
            self.stopped[crowd] = f"stopped at {found[1]}: {found[2]}"

    def sizes(self) -> list[int]:
        return sorted({size for curve in self.curves.values() for size in curve.values})

    def of(self, crowd: str) -> dict[str, Curve]:
        return {name: curve for (whose, name), curve in self.curves.items() if whose == crowd}

    def figures(self) -> list[str]:
        """Names of what is judged."""
        return list(dict.fromkeys(name for _, name in self.curves if name != _GROWTH))


def measure(session: Session, logs: Path, crowd: str, form: Form, turn: int, into: Curves) -> None:
    """One crowd, from 1 to as many as there are to be."""
    # a process maps four areas of each channel
    session.on_all("sysctl -qw vm.max_map_count=2000000", timeout=60)
    client = [_PROGRAM, SERVER, "--port", str(_PORT), "--beside", crowd, "--most", str(form.most), "--seconds", str(form.seconds)]
    watch = Watch(session)
    ended = pair.run(session, [_PROGRAM, "--listen", "--port", str(_PORT)], client, _PORT, form.limit, logs / f"curves-{crowd}-{turn}")
    into.read(crowd, ended.client)
    if ended.status != 0:
        into.failures[crowd] = ended.reason(form.limit)
    if (strange := watch.strange()) > STRANGE:
        into.disturbed.append(f"{crowd}: {strange:.2f} processors of this machine were used by others")
        term.warn(into.disturbed[-1])
    grown = [f"{name} x {worst:.1f}" for name, curve in into.of(crowd).items() if name != _GROWTH and (worst := curve.worst()) and worst > _FLAT]
    term.say(f"{crowd}: {', '.join(grown) or 'flat'}" + (f"; {into.stopped[crowd]}" if crowd in into.stopped else ""))


# ---- what is written

def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write_csv(path: Path, header: Header, curves: Curves) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["commit", "kernel", "crowd", "size", "figure", "round", "us"])
        for (crowd, name), curve in curves.curves.items():
            for size, values in curve.values.items():
                writer.writerows([header.commit, header.kernel, crowd, size, name, turn, value] for turn, value in enumerate(values, 1))


def write_markdown(path: Path, header: Header, curves: Curves) -> None:
    lines = ["# lab bench --curves", "", header.text() + ".", "",
             f"Microseconds of one event beside a crowd of so many. `{_WORK}`: for which processors of both hosts together are busy. worst: the largest "
             f"of what it is beside more than {_BASE}, divided by what it is beside {_BASE}; flat: at most {_FLAT}."]
    for crowd, what in CROWDS.items():
        rows = curves.of(crowd)
        if not rows:
            continue
        sizes = sorted({size for curve in rows.values() for size in curve.values})
        lines += ["", f"## {crowd}: {what}", "", "| |" + "|".join(f" {size:,} " for size in sizes) + "| worst | flat |",
                  "|---|" + "---|" * (len(sizes) + 2)]
        for name, curve in rows.items():
            worst = curve.worst()
            verdict = "" if name == _GROWTH or worst is None else "yes" if worst <= _FLAT else "no"
            cells = [_number(curve.at(size)) for size in sizes] + ["-" if worst is None else f"x {worst:.2f}", verdict]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        if crowd in curves.stopped:
            lines += ["", f"The crowd {curves.stopped[crowd]}."]
    if curves.disturbed:
        lines += ["", "## Disturbed", "", "Where others used this machine, curves are not to be trusted:", "", *(f"- {line}" for line in curves.disturbed)]
    if curves.failures:
        lines += ["", "## Failed", "", *(f"- {crowd}: {why.splitlines()[0]}" for crowd, why in curves.failures.items())]
    path.write_text("\n".join(lines) + "\n")


def write_plot(path: Path, header: Header, curves: Curves) -> None:
    """A panel for each figure: what it costs of what it costs beside _BASE, over the crowd's size; its processor time dashed."""
    import matplotlib  # installed by the lab for this command alone

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "curves", "svg.fonttype": "none"})  # the same figures make the same small file
    from matplotlib import pyplot

    figures = curves.figures()
    names = [name for name in figures if name.removesuffix(_WORK) not in figures or not name.endswith(_WORK)]
    if not names:
        return
    wide = 4
    high = -(-len(names) // wide)
    figure, panels = pyplot.subplots(high, wide, figsize=(3 * wide, 2.2 * high + 0.8), squeeze=False, sharex=True, sharey=True)
    colours = dict(zip(CROWDS, pyplot.rcParams["axes.prop_cycle"].by_key()["color"]))
    for axes, name in zip(panels.flat, names):
        axes.axhspan(1 / _FLAT, _FLAT, color="0.9", zorder=0)
        for crowd in CROWDS:
            for shown, style in ((name, "-"), (name + _WORK, ":")):
                curve = curves.of(crowd).get(shown, Curve())
                points = [(size, times) for size in sorted(curve.values) if size >= _BASE and (times := curve.times(size))]
                if points:
                    axes.plot(*zip(*points), style, label=CROWDS[crowd] if shown == name else None, color=colours[crowd])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelsize=7)
        axes.minorticks_off()  # hundreds of lines in the file, for nothing
        axes.grid(alpha=0.3)
    for axes in panels.flat[len(names):]:
        axes.set_visible(False)
    # what becomes cheaper, as the costs of a beginning are shared, may leave the panel
    panels[0, 0].set_ylim(0.3, 1.2 * max([4, *(curve.worst() or 0 for (_, name), curve in curves.curves.items() if name != _GROWTH)]))
    handles = {label: handle for axes in panels.flat for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.tight_layout(rect=(0, 0.6 / (2.2 * high + 0.8), 1, 1))
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Cost beside so many, of that beside {_BASE}; dotted: processor time; grey: flat. {header.text()}", fontsize=8, y=1.01)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


# ---- the command

def choose(pattern: str) -> list[str]:
    """The crowds in whose name or description it is found."""
    try:
        chosen = [crowd for crowd, what in CROWDS.items() if re.search(pattern, crowd) or re.search(pattern, what)]
    except re.error as error:
        raise term.LabError(f"not a regular expression: {error}", term.USAGE) from None
    if not chosen:
        raise term.LabError(f"no crowd matches --rows; there are {', '.join(CROWDS)}", term.USAGE)
    return chosen


class Hosts:
    """Hosts for one crowd after the other. What is left of a large one takes long to end, so the next gets new ones."""

    def __init__(self, boot: Callable[[], Session], judge: Callable[[Session], int], anew: bool) -> None:
        self._boot = boot
        self._judge = judge
        self._anew = anew
        self._session: Session | None = None
        self.status = 0  # of the worst report in a kernel log

    def get(self) -> Session:
        if self._session and self._anew:
            self.end()
        self._session = self._session or self._boot()
        return self._session

    def end(self) -> None:
        session, self._session = self._session, None
        if session:
            try:
                self.status = self._judge(session) or self.status
            finally:
                session.end()


def run(hosts: Hosts, logs: Path, chosen: list[str], rounds: int, form: Form, describe: Callable[[Session], Header], folder: Path) -> int:
    """All crowds, round after round; returns how many measurements failed."""
    curves = Curves()
    header = None
    try:
        for turn in range(1, rounds + 1):
            for crowd in chosen:
                session = hosts.get()
                header = header or describe(session)
                if crowd not in curves.failures:
                    measure(session, logs, crowd, form, turn, curves)
    finally:
        hosts.end()
        if header:
            folder.mkdir(parents=True, exist_ok=True)
            write_csv(folder / "curves.csv", header, curves)
            write_markdown(folder / "curves.md", header, curves)
            write_plot(folder / "curves.svg", header, curves)
            term.say(f"written to {folder}: curves.csv, curves.md, curves.svg")
    for crowd, why in curves.failures.items():
        term.warn(f"FAILED: {crowd}: {why}")
    print((folder / "curves.md").read_text(), flush=True)
    return len(curves.failures)
