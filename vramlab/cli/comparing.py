"""``compare``: eviction policies and orders of serving side by side, with the bounds of both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from vramlab.allocator.policies import policy_names
from vramlab.analysis.figures import FIGURES, table
from vramlab.analysis.plots import policy_bars
from vramlab.cli.inputs import CaseOptions, JsonOption, grouped, names_in
from vramlab.cli.output import count, log, out, picture, print_json, print_table, save_plot, seconds
from vramlab.config.files import check_outputs
from vramlab.engine.orders import order_names
from vramlab.experiments.comparison import DEFAULT_POLICIES, Comparison, compared, sides_of
from vramlab.servers import server_names, server_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("compare")(compare_command)


@dataclass(frozen=True)
class ComparedOptions:
    """What is compared."""

    policies: Annotated[
        str | None,
        typer.Option(
            "--policies",
            help=f"Eviction policies, with commas between, or `all`. Default: "
            f"{','.join(DEFAULT_POLICIES)}; with --orders or --servers the configuration's.",
        ),
    ] = None
    orders: Annotated[
        str | None,
        typer.Option(
            "--orders",
            help=f"Orders of serving, with commas between: {', '.join(order_names())}, package.module:name.",
        ),
    ] = None
    servers: Annotated[
        str | None,
        typer.Option(
            "--servers",
            help=f"As model servers of today, with commas between, or `all`: {', '.join(server_names())}; "
            "with options as in ollama:keep_alive=600+max_loaded_models=2.",
        ),
    ] = None
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals, and differences from the first policy.")
    ] = False
    skip_warmup: Annotated[
        bool, typer.Option("--skip-warmup", help="Leave out the warm-up, as the MSER-5 rule sees it.")
    ] = False


@grouped
def compare_command(
    inputs: CaseOptions,
    what: ComparedOptions,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of the load costs to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a trace once per eviction policy, and order of serving, or as other servers would serve it.

    The last rows are the run with memory for all models, and the offline optimum. The price of memory is how
    far a run is above the first of them.

    Example: vramlab compare traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml
    --policies seed,seed_fixed,lru,gdsf

    Example: vramlab compare mine.parquet --models mine.yaml --config config/scenarios/plain.yaml --servers
    all
    """
    check_outputs([plot], inputs.files)
    names = (
        policy_names() if what.policies == "all" else what.policies and names_in("--policies", what.policies)
    )
    orders = names_in("--orders", what.orders) if what.orders else []
    servers = server_names() if what.servers == "all" else _servers(what.servers)
    case = inputs.resolve()
    sides = sides_of(case, names or None, orders, servers)
    with tqdm(total=len(sides) + 1, desc="compare", unit="run", disable=None, leave=False) as progress:
        result = compared(
            case, sides, intervals=what.intervals, skip_warmup=what.skip_warmup, done=progress.update
        )
    if plot is not None:
        title = f"{inputs.trace.name}: {result.rows[0]['requests']:,} requests"
        save_plot(plot_load_costs(result, title), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(result.document() | {"servers": [_about(text) for text in servers]})
    else:
        show_comparison(result, f"{inputs.trace}, {case.mode}")
        for text in servers:
            server = server_of(text)[0]
            out.print(f"as {text} ({server.version}): {'; '.join(server.approximations)}")


def _servers(text: str | None) -> list[str]:
    """Return names with options, where commas inside brackets are the options' own."""
    if text is None:
        return []
    parts = re.split(r",(?![^\[{]*[\]}])", text)
    return names_in("--servers", "\0".join(parts), "\0")


def _about(text: str) -> dict[str, Any]:
    """Return what a preset is made from, and where it is not the server."""
    server, options = server_of(text)
    keys = ("name", "title", "version", "source", "read", "approximations")
    return {"server": text, "options": options} | {key: getattr(server, key) for key in keys}


def plot_load_costs(result: Comparison, title: str) -> Axes:
    """Load cost by policy, with the offline optimum as a line."""
    return policy_bars(result.frame(), result.cost, optimum=result.optimum.load_cost_s, title=title)


def show_comparison(result: Comparison, title: str) -> None:
    """Print the table of a comparison, the offline optimum as last row; empty columns are left out."""
    mode, floor = result.rows[0]["mode"], result.floor
    shown = [
        figure
        for figure in table("compare")
        if (not figure.hidden_if_zero or any(row[figure.key] for row in result.rows))
        and (figure.key != "cost_s" or result.cost == "cost_s")
    ]
    several = len({row["order"] for row in result.rows if row["server"] is None}) > 1
    rows = [
        [
            f"{row['policy']}, {row['order']}" if several and row["server"] is None else row["policy"],
            *(figure.text(row[figure.key], mode) for figure in shown),
        ]
        for row in result.rows
    ]
    if floor is not None:
        rows.append(["unlimited memory", *(figure.text(floor.get(figure.key), mode) for figure in shown)])
    optimum = {result.cost: seconds(result.optimum.load_cost_s)}
    if any(row["gap_closed"] is not None for row in result.rows):
        optimum["gap_closed"] = FIGURES["gap_closed"].text(1.0)
    rows.append(["offline optimum", *(optimum.get(figure.key, "-") for figure in shown)])
    _show_limits(result)
    print_table(title, ["policy, order" if several else "policy", *(figure.label for figure in shown)], rows)
    if not any(row[key] for row in result.rows for key in ("evictions", "fallbacks", "refused")):
        out.print("everything fits: no policy had to choose")
    if any(row[result.cost] < result.optimum.load_cost_s for row in result.rows):
        out.print("fewer loads than the optimum: requests were served in another order, or refused")
    if result.warmup:
        out.print(f"without the first {count(result.warmup)} requests (warm-up)")
    if "hit_rate_low" in result.rows[0]:
        _show_intervals(result)


def _show_limits(result: Comparison) -> None:
    for name in dict.fromkeys(limit for row in result.rows for limit in row["binding"]):
        times = [row["binding"].get(name, 0) for row in result.rows]
        least, most = count(min(times)), count(max(times))
        out.print(f"binding: {name}, {least if least == most else f'{least} to {most}'} times")


def _show_intervals(result: Comparison) -> None:
    """Print how sure the figures are, and what differs from the first policy."""
    figures = [
        figure for figure in FIGURES.values() if any(f"{figure.key}_low" in row for row in result.rows)
    ]
    figures.sort(key=lambda figure: figure.unit == "latency")
    rows = []
    for row in result.rows:
        cells = [row["policy"]]
        for figure in figures:
            low, high = (figure.text(row.get(f"{figure.key}_{end}")) for end in ("low", "high"))
            versus = row["versus_first"].get(figure.key)
            cells += [f"{low} to {high}", versus["verdict"] if versus else "-"]
        rows.append(cells)
    header = [
        cell
        for figure in figures
        for cell in (figure.name or figure.label, f"than {result.rows[0]['policy']}")
    ]
    print_table("95 % intervals, and paired comparison with the first policy", ["policy", *header], rows)
