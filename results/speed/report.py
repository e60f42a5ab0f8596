"""Writes what ``remake.py`` measured: speed.csv, environment.json, the README's table, and the picture."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from vramlab import __version__
from vramlab.analysis import style
from vramlab.config.files import replacing

HERE = Path(__file__).parent
PACKAGES = (
    "numpy", "pandas", "pyarrow", "pydantic", "scipy", "simpy", "typer", "libcachesim", "onnxruntime",
    "onnxruntime-gpu",
)  # fmt: skip
KINDS = ("interpreted", "compiled")
BEFORE = "before"
ORDERS = ("backlog", "arrival")


def write_all(measured: pd.DataFrame, missing: list[str], load: float) -> None:
    """Put new figures in the place of earlier ones, and make table and picture again."""
    now = environment(missing, load)
    path, noted = HERE / "speed.csv", HERE / "environment.json"
    was = json.loads(noted.read_text("utf-8")) if noted.is_file() else {}
    # rows of another machine, or of other versions, are none of this table
    if path.is_file() and all(was.get(key) == now[key] for key in ("machine", "versions")):
        earlier = pd.read_csv(path)
        again = set(zip(measured["figure"], measured["code"], strict=True))
        kept = [pair not in again for pair in zip(earlier["figure"], earlier["code"], strict=True)]
        measured = pd.concat([earlier[kept], measured]) if any(kept) else measured
    order = {figure: place for place, figure in enumerate(goals()["figure"])}
    measured = measured.sort_values(
        "figure", kind="stable", key=lambda names: names.map(lambda name: order[name.partition(".")[0]])
    )
    with replacing(path) as temporary:
        measured.to_csv(temporary, index=False, float_format="%.4g")
    measured = pd.read_csv(path)
    with replacing(noted) as temporary:
        temporary.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    text = between(text, "table", table_of(measured))
    text = between(text, "machine", sentence(json.loads(noted.read_text("utf-8"))))
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw(measured, HERE / "speed.png")


def goals() -> pd.DataFrame:
    """What was wanted, and what was there before."""
    return pd.read_csv(HERE / "goals.csv")


# -- where it was measured -------------------------------------------------------------------------------


def environment(missing: list[str], load: float) -> dict[str, object]:
    """Versions, the machine in words, and what else ran on it."""
    return {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "busy_at_the_start": round(load, 1),
        "left_out": missing,
        "versions": {"vramlab": __version__, "python": platform.python_version()} | installed(),
    }


def installed() -> dict[str, str]:
    """Versions of the packages that are there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Cores, processor, memory, system; no names."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (named := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        model = named[1]
    try:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB of memory"
    except (AttributeError, ValueError, OSError):  # Windows does not say it so
        memory = ""
    return f"{cores} cores ({model}, {platform.machine()}){memory}, {platform.system()}"


def sentence(found: dict) -> str:
    """The same, to read."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [f"Measured on {found['made']}: {found['machine']}; {versions}."]
    busy = found["busy_at_the_start"]
    if busy >= 0.5:
        lines.append(f"Others used the machine too (load {busy} at the start).")
    if found["left_out"]:
        lines.append(f"Left out: {', '.join(found['left_out'])}.")
    return " ".join(lines)


# -- the table -------------------------------------------------------------------------------------------


def between(text: str, name: str, new: str) -> str:
    """Put `new` between the markers of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"README.md: expected {begin} and {end} once each")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{new}\n{end}{rest.partition(end)[2]}"


def table_of(measured: pd.DataFrame) -> str:
    """One row per goal; what reaches it is bold. Where orders were measured, each of them stands there."""
    lines = [
        "| measure | wanted | before, then | before, measured again | interpreted | compiled |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    values = measured.set_index(["figure", "code"])["value"].to_dict()
    for goal in goals().itertuples():
        cells = [goal.measure, with_unit(goal.wanted, goal.unit), with_unit(goal.before_text, goal.unit)]
        for kind in (BEFORE, *KINDS):
            value = values.get((goal.figure, kind))
            text = " / ".join(
                with_unit(values[figure, kind], goal.unit)
                for figure in (*(f"{goal.figure}.{order}" for order in ORDERS), goal.figure)
                if (figure, kind) in values
            ).rpartition(" / ")
            cell = text[0] or text[2]  # the orders, or the one figure that there is
            good = kind in KINDS and value is not None and reached(value, goal)
            cells.append(f"**{cell}**" if good else cell)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_unit(value: object, unit: str) -> str:
    """A figure to three digits; empty where there is none."""
    if value is None or value != value:
        return ""
    text = value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return text if unit == "times" else f"{text} {unit}"


def reached(value: float, goal) -> bool:
    """Whether a figure is as good as wanted, as it is printed."""
    value = float(f"{value:.3g}")
    return value >= goal.wanted if goal.unit == "times" else value <= goal.wanted


# -- the picture -----------------------------------------------------------------------------------------


def gain(value: float, goal, before: float) -> float:
    """How many times as good as before."""
    return value / before if goal.unit == "times" else before / value


def draw(measured: pd.DataFrame, path: Path) -> None:
    """Gain of each figure over before, beside the wanted one; before as measured again, where it was."""
    shown = [goal for goal in goals().itertuples() if goal.figure in set(measured["figure"])]
    values = measured.set_index(["figure", "code"])["value"].to_dict()
    axes: Axes
    figure, axes = plt.subplots(figsize=(8.5, 0.32 * len(shown) + 1.6), layout="constrained")
    style.axes(axes)
    style.grid(axes, "x")
    axes.axvline(1, color=style.INK, linewidth=1)
    for place, goal in enumerate(shown):
        before = values.get((goal.figure, BEFORE), goal.before)
        if goal.wanted == goal.wanted:
            at = gain(goal.wanted, goal, before)
            axes.plot([at, at], [place - 0.35, place + 0.35], color=style.OPTIMUM, linewidth=2.5,
                      label="wanted", zorder=2)  # fmt: skip
        for kind, marker, face in (("interpreted", "o", "white"), ("compiled", "s", style.colour(0))):
            value = values.get((goal.figure, kind))
            if value is not None:
                axes.plot(gain(value, goal, before), place, marker, color=style.colour(0),
                          markerfacecolor=face, markersize=7, label=kind, zorder=3)  # fmt: skip
    axes.set_yticks(range(len(shown)), [goal.label for goal in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 3, 5, 10, 20, 50) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("How many times as fast, or as small, as before")
    style.title(axes, headline(shown, values))
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    style.legend(axes, outside=True, handles=list(once.values()), labels=list(once))
    figure.savefig(path, dpi=150)
    plt.close(figure)


def headline(shown: list, values: dict) -> str:
    """What the picture says, in a line; a figure without compiled code counts as it is."""
    best = {figure: value for kind in KINDS for (figure, code), value in values.items() if code == kind}
    aims = [goal for goal in shown if goal.wanted == goal.wanted and goal.figure in best]
    done = sum(reached(best[goal.figure], goal) for goal in aims)
    kind = "compiled" if any(code == "compiled" for _, code in values) else "interpreted"
    return f"{done} of {len(aims)} aims are reached ({kind} core)"
