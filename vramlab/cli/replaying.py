"""``replay``, ``compare`` and ``bound``: what would have happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import typer
from tqdm import tqdm

from vramlab.allocator.policies import policy_names
from vramlab.analysis.bounds import Bound, offline_bound
from vramlab.analysis.plots import policy_bars
from vramlab.analysis.timelines import memory_map
from vramlab.cli.inputs import (
    ConfigOption,
    JsonOption,
    ModelsOption,
    PolicyOption,
    SeedOption,
    SetOption,
    TimesOption,
    TraceArgument,
    changes,
    memory_bytes,
    names_in,
)
from vramlab.cli.output import (
    count,
    latency,
    log,
    mebibytes,
    milliseconds,
    out,
    percent,
    picture,
    print_binding,
    print_json,
    print_table,
    save_plot,
    seconds,
    show_losses,
)
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.engine.orders import order_names
from vramlab.experiments.comparison import DEFAULT_POLICIES, Comparison, compare
from vramlab.experiments.inputs import resolve_inputs, resolve_settings
from vramlab.experiments.replay import Mode, Replay, replay
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import check_replay_folder, write_replay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ModeOption = Annotated[
    Literal["simulate", "decide"],
    typer.Option(
        "--mode",
        help="simulate: queues and service times. decide: the allocator alone, without monitor, "
        "preloading and result cache.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("replay")(replay_command)
    app.command("compare")(compare_command)
    app.command("bound")(bound_command)


def replay_command(
    trace: TraceArgument,
    config: ConfigOption = None,
    models: ModelsOption = None,
    policy: PolicyOption = None,
    overrides: SetOption = None,
    mode: ModeOption = "simulate",
    service_times: TimesOption = "spec",
    seed: SeedOption = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for records and journal.")] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--memory-map",
            callback=picture,
            help="Picture to write of where the models lie at the end (simulate).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a trace through the allocator and show what became of the requests.

    Example: vramlab replay traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml --policy lru
    """
    if map_file is not None and mode != "simulate":
        raise InputError("--memory-map", "", f"--mode {mode}", "--mode simulate, which knows of places")
    check_outputs([map_file], [trace, config, models], [out])
    if out is not None:
        check_replay_folder(out)
    say_without_preloading(mode, config, models, changes(overrides, policy))
    keep_journal = (out is not None or map_file is not None) and mode == "simulate"
    result = replay(
        trace, config, models, mode, seed, keep_journal, changes(overrides, policy), service_times
    )
    if out is not None:
        write_replay(out, result.records, result.figures, result.journal)
        log.print(f"written to {out}")
    if map_file is not None and result.journal is not None:
        settings, inventory = resolve_settings(config, models, changes(overrides, policy))
        layout = lockstep(list(result.journal), settings, inventory).layout
        save_plot(memory_map(pd.DataFrame(layout), title=f"{trace.name}: at the end"), map_file)
        log.print(f"written to {map_file}")
    if as_json:
        print_json(result.figures)
    else:
        _show_replay(result, str(trace))


def compare_command(
    trace: TraceArgument,
    policies: Annotated[
        str | None,
        typer.Option(
            "--policies",
            help=f"Eviction policies, with commas between, or `all`. Without it "
            f"{','.join(DEFAULT_POLICIES)}; with --orders the configuration's.",
        ),
    ] = None,
    orders: Annotated[
        str | None,
        typer.Option(
            "--orders",
            help=f"Orders of serving, with commas between: {', '.join(order_names())}, package.module:name.",
        ),
    ] = None,
    config: ConfigOption = None,
    models: ModelsOption = None,
    overrides: SetOption = None,
    mode: ModeOption = "simulate",
    seed: SeedOption = 0,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals, and differences from the first policy.")
    ] = False,
    skip_warmup: Annotated[
        bool, typer.Option("--skip-warmup", help="Leave out the warm-up, as the MSER-5 rule sees it.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of the load costs to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a trace once per eviction policy, and order of serving.

    The last rows are the run with memory for all models (the price of memory is what others are above it) and
    the offline optimum.

    Example: vramlab compare traces/synthetic_tight.csv.gz --config config/scenarios/tight.yaml
    --policies seed,seed_fixed,lru,gdsf
    """
    check_outputs([plot], [trace, config, models])
    names = policy_names() if policies == "all" else policies and names_in("--policies", policies)
    asked = names_in("--orders", orders) if orders else []
    say_without_preloading(mode, config, models, changes(overrides))
    runs = len(names or DEFAULT_POLICIES[: 1 if asked else None]) * max(len(asked), 1)
    with tqdm(total=runs + 1, desc="compare", unit="run", disable=None, leave=False) as progress:
        done = progress.update
        result = compare(
            trace, config, models, names or None, mode, seed, changes(overrides), done, intervals,
            skip_warmup, asked,
        )  # fmt: skip
    if plot is not None:
        title = f"{trace.name}: {result.rows[0]['requests']:,} requests"
        save_plot(plot_load_costs(result, title), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(result.document())
    else:
        show_comparison(result, f"{trace}, {mode}")


def say_without_preloading(
    mode: Mode, config: Path | None, models: Path | None, overrides: Sequence[str], keys: Iterable[str] = ()
) -> None:
    """Say on standard error that decide mode does not preload, where the settings ask for it.

    Parameters
    ----------
    keys : iterable of str
        Settings that will be changed beside `overrides`.
    """
    if mode != "decide":
        return
    settings, _ = resolve_settings(config, models, overrides)
    if settings.optimization.predictor is not None or "optimization.predictor" in keys:
        log.print("decide mode does not preload: optimization.predictor changes nothing")


def bound_command(
    trace: TraceArgument,
    capacity_mb: Annotated[float, typer.Option("--capacity-mb", help="Memory for models, MB.")],
    config: ConfigOption = None,
    models: ModelsOption = None,
    admission: Annotated[
        Literal["forced", "bypass"],
        typer.Option(
            "--admission", help="forced: every miss is loaded and kept at first; bypass: it need not be."
        ),
    ] = "forced",
    as_json: JsonOption = False,
) -> None:
    """The offline optimum: the least total load time that any schedule could have had.

    Example: vramlab bound traces/synthetic_tight.csv.gz --capacity-mb 400 --models config/model_config.yaml
    """
    capacity_bytes = memory_bytes("--capacity-mb", capacity_mb)
    requests, _, inventory = resolve_inputs(trace, config, models)
    result = offline_bound(requests, inventory, capacity_bytes, admission)
    if as_json:
        print_json(bound_document(result))
    else:
        rows = [
            ("least load cost", seconds(result.load_cost_s)),
            ("every request a miss", seconds(result.load_cost_all_miss_s)),
            ("capacity", mebibytes(result.capacity_bytes)),
            ("requests", count(result.requests)),
            ("admission", result.admission),
            ("method", result.method),
        ]
        print_table(f"offline optimum of {trace}", ["", ""], rows)
        print("For serving all on the device: what the CPU or the result cache answers needs no load.")
        asked = set(requests.model_names)
        large = [name for name in asked if inventory[name].footprint_bytes > capacity_bytes]
        if large:
            print(f"{len(large)} of {len(asked)} models are larger than that: each use of them is a load.")


def bound_document(result: Bound) -> dict[str, Any]:
    """The keys of ``bound --json``."""
    keys = ("load_cost_s", "load_cost_all_miss_s", "capacity_bytes", "requests", "admission", "method")
    return {key: getattr(result, key) for key in keys}


def _show_replay(result: Replay, title: str) -> None:
    figures = result.figures
    rows = [
        ("requests", count(figures["requests"])),
        *(
            (label, f"{count(figures[key])}  ({percent(figures[key] / max(figures['requests'], 1))})")
            for label, key in (
                ("hits", "hits"),
                ("cold starts", "cold_starts"),
                ("joined a load", "waits"),
                ("CPU fallbacks", "fallbacks"),
                ("refused", "refused"),
                ("failed", "failed"),
                ("from the result cache", "cache_hits"),
            )
        ),
        ("hit rate", percent(figures["hit_rate"])),
        ("loads / preloads / evictions", _movements(figures)),
        ("load cost", seconds(figures["load_cost_s"])),
        ("latency mean", latency(figures["latency_mean_s"], figures["mode"])),
        ("latency p50 / p95 / p99", _percentiles(figures)),
        ("VRAM held mean / peak", _held(figures)),
        ("replayed at", f"{figures['requests_per_s']:,.0f} requests/s"),
    ]
    print_table(f"{title}: {figures['policy']}, {figures['backend']}", ["", ""], rows)
    header = ["zone", "requests", "hit rate", "loads", "evictions", "held mean", "held peak"]
    zones = [
        (
            name,
            count(zone["requests"]),
            percent(zone["hit_rate"]),
            count(zone["loads"]),
            count(zone["evictions"]),
            mebibytes(zone["vram_used_mean_bytes"]),
            mebibytes(zone["vram_used_peak_bytes"]),
        )
        for name, zone in figures["zones"].items()
    ]
    print_table("zones", header, zones)
    print_binding(figures)
    _show_losses(figures)


def _show_losses(figures: dict[str, Any]) -> None:
    """What was lost and why, and what a fault plan did; nothing where nothing was."""
    lost = [
        (kind.replace("_", " "), cause or "not said", count(number))
        for kind, causes in figures["lost"].items()
        for cause, number in causes.items()
    ]
    if lost:
        print_table("lost", ["", "why", "how many"], lost)
    show_losses(figures)
    if figures["faults"]:
        rows = [
            (key.removesuffix("_s").replace("_", " "), seconds(value) if key.endswith("_s") else count(value))
            for key, value in figures["faults"].items()
        ]
        print_table("what the fault plan did", ["", ""], rows)


def _movements(figures: dict[str, Any]) -> str:
    return " / ".join(count(figures[key]) for key in ("loads", "preloads", "evictions"))


def _percentiles(figures: dict[str, Any]) -> str:
    return " / ".join(latency(figures[f"latency_{p}_s"], figures["mode"]) for p in ("p50", "p95", "p99"))


def _held(figures: dict[str, Any]) -> str:
    return " / ".join(mebibytes(figures[f"vram_used_{kind}_bytes"]) for kind in ("mean", "peak"))


def plot_load_costs(result: Comparison, title: str) -> Axes:
    """Load cost by policy, with the offline optimum as a line."""
    return policy_bars(result.frame(), result.cost, optimum=result.optimum.load_cost_s, title=title)


def show_comparison(result: Comparison, title: str) -> None:
    """Print the table of a comparison, the offline optimum as last row; empty columns are left out."""
    in_time = partial(latency, mode=result.rows[0]["mode"])
    columns: list[tuple[str, str, Callable[[Any], str]]] = [
        ("hit rate", "hit_rate", percent),
        ("cold starts", "cold_starts", count),
        ("fallbacks", "fallbacks", count),
        ("refused", "refused", count),
        ("failed", "failed", count),
        ("evictions", "evictions", count),
        ("load cost", "load_cost_s", seconds),
        ("with CPU answers", "cost_s", seconds),
        ("gap closed", "gap_closed", lambda value: "-" if value is None else f"{value:.2f}"),
        ("p50", "latency_p50_s", in_time),
        ("p95", "latency_p95_s", in_time),
        ("p99", "latency_p99_s", in_time),
        ("longest", "latency_max_s", in_time),
        ("mean", "latency_mean_s", in_time),
        ("price: mean", "price_mean_s", in_time),
        ("price: p99", "price_p99_s", in_time),
    ]
    shown = [
        column
        for column in columns
        if (column[1] not in ("fallbacks", "refused", "failed") or any(row[column[1]] for row in result.rows))
        and (column[1] != "cost_s" or result.cost == "cost_s")
    ]
    several = len({row["order"] for row in result.rows}) > 1
    rows = [
        [
            f"{row['policy']}, {row['order']}" if several else row["policy"],
            *(show(row[key]) for _, key, show in shown),
        ]
        for row in result.rows
    ]
    if result.floor is not None:
        floor = result.floor
        rows.append(
            ["unlimited memory", *(show(floor[key]) if key in floor else "-" for _, key, show in shown)]
        )
    optimum = {result.cost: seconds(result.optimum.load_cost_s)}
    if any(row["gap_closed"] is not None for row in result.rows):
        optimum["gap_closed"] = "1.00"
    rows.append(["offline optimum", *(optimum.get(key, "-") for _, key, _ in shown)])
    for name in dict.fromkeys(limit for row in result.rows for limit in row["binding"]):
        times = [row["binding"].get(name, 0) for row in result.rows]
        least, most = count(min(times)), count(max(times))
        out.print(f"binding: {name}, {least if least == most else f'{least} to {most}'} times")
    print_table(title, ["policy, order" if several else "policy", *(name for name, _, _ in shown)], rows)
    if not any(row[key] for row in result.rows for key in ("evictions", "fallbacks", "refused")):
        out.print("everything fits: no policy had to choose")
    if any(row[result.cost] < result.optimum.load_cost_s for row in result.rows):
        out.print("fewer loads than the optimum: requests were served in another order than they came in")
    if result.warmup:
        out.print(f"without the first {count(result.warmup)} requests (warm-up)")
    if "hit_rate_low" in result.rows[0]:
        _show_intervals(result)


def _show_intervals(result: Comparison) -> None:
    """Print how sure the figures are, and what differs from the first policy."""
    figures = [
        (name, key, show)
        for name, key, show in (
            ("hit rate", "hit_rate", percent),
            ("load cost", "load_cost_s", seconds),
            ("mean latency", "latency_mean_s", milliseconds),
        )
        if any(f"{key}_low" in row for row in result.rows)
    ]
    rows = []
    for row in result.rows:
        cells = [row["policy"]]
        for _, key, show in figures:
            low, high, versus = row.get(f"{key}_low"), row.get(f"{key}_high"), row["versus_first"].get(key)
            cells += [f"{show(low)} to {show(high)}", versus["verdict"] if versus else "-"]
        rows.append(cells)
    header = [cell for name, _, _ in figures for cell in (name, f"than {result.rows[0]['policy']}")]
    print_table("95 % intervals, and paired comparison with the first policy", ["policy", *header], rows)
