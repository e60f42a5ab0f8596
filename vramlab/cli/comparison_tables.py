"""Tables of comparisons for people, and what is said below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vramlab.analysis.figures import FIGURES, Figure, table
from vramlab.analysis.plots import policy_bars
from vramlab.cli.output import count, out, print_table, seconds
from vramlab.experiments.comparison import Comparison
from vramlab.experiments.side_by_side import SideBySide, card_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Whose differences are shown as shares of the first row's figure; those of shares are points.
_VERSUS = ("cost_s", "hit_rate", "latency_mean_s")


def plot_load_costs(result: Comparison, title: str) -> Axes:
    """Load cost by policy, with the offline optimum as a line."""
    return policy_bars(result.frame(), result.cost, optimum=result.optimum.load_cost_s, title=title)


def show_comparison(result: Comparison, title: str) -> None:
    """Print the table of a comparison, the offline optimum as last row; empty columns are left out."""
    card = card_text(result.case.config.total_memory_mb)
    _show_limits(result)
    _show_rows([("", result)], f"{title}, card of {card}")
    _show_remarks(result)
    if "hit_rate_low" in result.rows[0]:
        _show_intervals([(_name(row, _several(result)), row) for row in _with_outside(result)])


def show_side_by_side(found: SideBySide, title: str) -> None:
    """Print all comparisons in one table, their costs side by side, and the remarks on each."""
    if len(found.places) == 1:
        show_comparison(found.comparisons[0], title)
        return
    _show_rows([(place.label, one) for place, one in found], title)
    for place, one in found:
        lines = one.remarks()
        if lines:
            out.print(f"{place.label}:")
        for line in lines:
            out.print(f"  {line}")
    rows = [(f"{place.label}: {_name(row, _several(one))}", row) for place, one in found for row in one.rows]
    if "hit_rate_low" in rows[0][1]:
        traces = list(dict.fromkeys(row["trace_sha256"] for _, row in rows))
        for trace in traces:
            _show_intervals([(name, row) for name, row in rows if row["trace_sha256"] == trace])


def _several(result: Comparison) -> bool:
    """Whether rows differ in their order of serving."""
    return len({row["order"] for row in result.rows if row["server"] is None}) > 1


def _with_outside(result: Comparison) -> list[dict[str, Any]]:
    return [*result.rows, *result.outside]


def _name(row: Mapping[str, Any], several: bool) -> str:
    if "baseline" in row:
        return str(row["baseline"])
    with_order = several and row["server"] is None
    return f"{row['policy']}, {row['order']}" if with_order else str(row["policy"])


def _show_rows(found: Sequence[tuple[str, Comparison]], title: str) -> None:
    """Print the rows of some comparisons, each with its floor and optimum."""
    rows = [row for _, one in found for row in _with_outside(one)]
    whole = any(one.cost == "cost_s" for _, one in found)
    shown = [
        figure
        for figure in table("compare")
        if (not figure.hidden_if_zero or any(row.get(figure.key) for row in rows))
        and (figure.key != "cost_s" or whole)
    ]
    several = any(_several(one) for _, one in found)
    lines = []
    for label, one in found:
        lines += [[label, *cells] for cells in _lines(one, shown, several, whole)]
    named = any(label for label, _ in found)
    header = ["where"] if named else []
    header += ["policy, order" if several else "policy", *(figure.label for figure in shown)]
    print_table(title, header, [line if named else line[1:] for line in lines])


def _lines(result: Comparison, shown: Sequence[Figure], several: bool, whole: bool) -> list[list[str]]:
    mode, floor = result.rows[0]["mode"], result.floor
    lines = [
        [_name(row, several), *(figure.text(row[figure.key], mode) for figure in shown)]
        for row in _with_outside(result)
    ]
    if floor is not None:
        lines.append(["unlimited memory", *(figure.text(floor.get(figure.key), mode) for figure in shown)])
    optimum = {"cost_s" if whole else "load_cost_s": seconds(result.optimum.load_cost_s)}
    if any(row["gap_closed"] is not None for row in result.rows):
        optimum["gap_closed"] = FIGURES["gap_closed"].text(1.0)
    lines.append(["offline optimum", *(optimum.get(figure.key, "-") for figure in shown)])
    return lines


def _show_limits(result: Comparison) -> None:
    for name in dict.fromkeys(limit for row in result.rows for limit in row["binding"]):
        times = [row["binding"].get(name, 0) for row in result.rows]
        least, most = count(min(times)), count(max(times))
        out.print(f"binding: {name}, {least if least == most else f'{least} to {most}'} times")


def _show_remarks(result: Comparison) -> None:
    if not any(row[key] for row in result.rows for key in ("evictions", "fallbacks", "refused")):
        out.print("everything fits: no policy had to choose")
    least_s = result.optimum.load_cost_s * (1 - 1e-6)
    if any(row[result.cost] < least_s for row in result.rows):
        out.print("fewer loads than the optimum: requests were served in another order")
    if result.warmup:
        out.print(f"without the first {count(result.warmup)} requests (warm-up)")
    for line in result.remarks():
        out.print(line)


def _show_intervals(named: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Print how sure the figures are, and by how much each differs from the first."""
    rows = [row for _, row in named]
    first = rows[0]
    figures = [FIGURES[key] for key in _VERSUS if any(f"{key}_low" in row for row in rows)]
    lines = []
    for name, row in named:
        cells = [name]
        for figure in figures:
            low, high = (figure.text(row.get(f"{figure.key}_{end}")) for end in ("low", "high"))
            cells += [f"{low} to {high}", versus_text(figure, row, first)]
        lines.append(cells)
    header = [cell for figure in figures for cell in (figure.name or figure.label, f"against {named[0][0]}")]
    print_table("95 % intervals, and paired comparison with the first policy", ["policy", *header], lines)
    if len(rows) > 2:
        out.print(
            f"the differences of all {len(rows) - 1} rows hold together with 95 %; those that hold 0 are ties"
        )


def versus_text(figure: Figure, row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """Write a difference from the first row with its size: ``-2.4 % (-3.1 to -1.6)``, ``tie, ...``."""
    found = row["versus_first"].get(figure.key)
    if not found:
        return "-"
    base = 0.01 if figure.unit == "share" else first[figure.key] / 100
    if not base:
        return str(found["verdict"])
    size, low, high = (found[key] / base for key in ("difference", "low", "high"))
    unit = "points" if figure.unit == "share" else "%"
    tie = "tie, " if found["verdict"] == "tie" else ""
    return f"{tie}{size:+.1f} {unit} ({low:+.1f} to {high:+.1f})"
