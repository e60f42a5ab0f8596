"""``keep-alive`` and ``explain``: what people ask of the server they have."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from vramlab.analysis.keep_alive import GRID_S, best_timeouts, gaps_of, keep_alive_curve
from vramlab.analysis.question_plots import duration, eviction_plot, keep_alive_plot
from vramlab.cli.inputs import JsonOption, PlotOption, SettingsOptions, TraceArgument, grouped, memory_bytes
from vramlab.cli.output import (
    count,
    log,
    mebibytes,
    out,
    print_json,
    print_table,
    save_plot,
    seconds,
)
from vramlab.config.bundled import there
from vramlab.config.files import check_outputs
from vramlab.experiments.case import resolve_settings
from vramlab.experiments.explaining import Explanation, document, explain, total_cost_s
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.run_folder import journal_of


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("keep-alive")(keep_alive_command)
    app.command("explain")(explain_command)


@grouped
def keep_alive_command(
    trace: TraceArgument,
    settings: SettingsOptions,
    memory_mb: Annotated[
        float | None,
        typer.Option("--memory-mb", help="To hold in the mean; the configuration's budget without it."),
    ] = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which keep_alive? Load time against memory held, for one time-out for all models, and one of each.

    From the gaps between requests, as if nothing but time-outs sent models away: `vramlab export` writes such
    time-outs into a server's settings and says what they do there, where memory is also full.

    Example: vramlab keep-alive traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml
    """
    check_outputs([plot], [trace, *settings.files])
    case = settings.case(trace)
    requests, inventory = case.trace, case.inventory
    budget = case.config.budget_bytes if memory_mb is None else memory_bytes("--memory-mb", memory_mb)
    gaps = gaps_of(requests, inventory)
    span_s = max(requests.duration_s, 1e-9)
    timeouts = best_timeouts(gaps, budget, span_s)
    rows = [
        {
            "model": one.name,
            "requests": one.requests,
            "gap_median_s": float(np.median(one.gaps_s)) if len(one.gaps_s) else None,
            "keep_alive_s": timeouts[one.name],
            "cold_starts": one.cold_starts(timeouts[one.name]),
            "load_s": one.cold_starts(timeouts[one.name]) * one.load_s,
            "mean_bytes": one.size_bytes * one.held_s(timeouts[one.name]) / span_s,
            "load_at_5_min_s": one.cold_starts(300.0) * one.load_s,
            "mean_at_5_min_bytes": one.size_bytes * one.held_s(300.0) / span_s,
        }
        for one in gaps
    ]
    longest = max((float(one.gaps_s[-1]) for one in gaps if len(one.gaps_s)), default=0.0)
    grid = (*(t for t in GRID_S if t <= longest), math.inf)
    same = keep_alive_curve(gaps, grid).groupby("keep_alive_s", as_index=False)[
        ["cold_starts", "load_s", "held_byte_s"]
    ].sum()  # fmt: skip
    same["mean_bytes"] = same.pop("held_byte_s") / span_s
    if plot is not None:
        best = _frontier(gaps, span_s, float(same["mean_bytes"].max()))
        save_plot(keep_alive_plot(same, best, budget, f"{trace.name}: which keep_alive?"), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json({"memory_bytes": budget, "models": rows, "same_for_all": same.to_dict("records")})
    else:
        _show_keep_alive(rows, same, budget, str(trace))


def _frontier(gaps: list[Any], span_s: float, most_bytes: float) -> pd.DataFrame:
    """Load time of the best time-outs, by memory."""
    found = []
    for allowed in np.linspace(0.0, most_bytes, 40):
        timeouts = best_timeouts(gaps, allowed, span_s)
        held = sum(one.size_bytes * one.held_s(timeouts[one.name]) for one in gaps) / span_s
        found.append((held, sum(one.load_s * one.cold_starts(timeouts[one.name]) for one in gaps)))
    return pd.DataFrame(found, columns=["mean_bytes", "load_s"]).drop_duplicates()


def _show_keep_alive(rows: list[dict[str, Any]], same: pd.DataFrame, budget: float, title: str) -> None:
    header = ["keep_alive for all", "cold starts", "loading", "held, mean"]
    table = [
        (
            duration(row["keep_alive_s"]),
            count(row["cold_starts"]),
            seconds(row["load_s"]),
            mebibytes(row["mean_bytes"]),
        )
        for row in same.to_dict("records")
    ]
    load_s, held = sum(row["load_s"] for row in rows), sum(row["mean_bytes"] for row in rows)
    cold = sum(row["cold_starts"] for row in rows)
    table.append(("one per model, below", count(cold), seconds(load_s), mebibytes(held)))
    print_table(f"{title}: one time-out for all models", header, table)
    shown = sorted(rows, key=lambda row: -row["requests"])[:20]
    more = f", the {len(shown)} most asked for of {len(rows)}" if len(shown) < len(rows) else ""
    print_table(
        f"one per model, for {mebibytes(budget)} in the mean{more}",
        ["model", "requests", "median gap", "keep_alive", "cold starts", "loading", "held, mean",
         "loading at 5 min"],
        [
            (
                row["model"], count(row["requests"]),
                "-" if row["gap_median_s"] is None else duration(row["gap_median_s"]),
                duration(row["keep_alive_s"]), count(row["cold_starts"]), seconds(row["load_s"]),
                mebibytes(row["mean_bytes"]), seconds(row["load_at_5_min_s"]),
            )
            for row in shown
        ],
    )  # fmt: skip
    out.print(
        "as if only time-outs sent models away; `vramlab export` says what they do where memory is full"
    )


@grouped
def explain_command(
    run: Annotated[Path, typer.Argument(help="Folder of `vramlab record`, or of `vramlab replay --out`.")],
    model: Annotated[str, typer.Option("--model", help="Whose evictions.")],
    given: SettingsOptions,
    last: Annotated[int, typer.Option("--last", min=1, help="Show so many evictions, the dearest.")] = 20,
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Why was it evicted? For whom, among which rivals and by which score, and what that cost later.

    A live run's folder has its settings with it; of a replay, give those that it was made with.

    Example: vramlab explain traces/recorded_tight --model detector
    """
    config, models = given.config, given.models
    check_outputs([plot], [run, config, models])
    folder = there(run)
    if config is None and (folder / "config.yaml").exists():
        config = folder / "config.yaml"
    if models is None and (folder / "models.yaml").exists():
        models = folder / "models.yaml"
    settings, inventory = resolve_settings(config, models, given.overrides or [])
    found = explain(read_journal(journal_of(folder)), settings, inventory, model)
    table = found.frame()
    if plot is not None:
        title = f"{model}: {len(table)} evictions, {total_cost_s(found):,.1f} s later"
        save_plot(eviction_plot(table, found.stays, np.array(found.asked_s), title), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(document(found))
    else:
        _show_explanation(found, table, last)


def _show_explanation(found: Explanation, table: pd.DataFrame, most: int) -> None:
    if table.empty:
        out.print(f"{found.model} was never evicted; it was asked for {len(found.asked_s):,} times")
        return
    dearest = sorted(found.evictions, key=lambda one: -one.waited_s)[:most]
    more = f", the {most} dearest of {len(table)}" if len(table) > most else ""
    rows = [
        (
            f"{one.time_s:,.1f} s", f"{one.loaded or one.asked_by}", f"{one.score:.4g}",
            ", ".join(f"{rival.model} {rival.score:.4g}" for rival in one.rivals[:3]) or "none",
            one.spared or "-", "never" if one.back_s is None else f"{one.back_s - one.time_s:,.1f} s later",
            count(one.waiters), seconds(one.waited_s),
        )
        for one in sorted(dearest, key=lambda one: one.time_s)
    ]  # fmt: skip
    print_table(
        f"evictions of {found.model} under {found.policy}{more}",
        ["when", "for", "score", "rivals", "lower, but", "there again", "waited", "cost"],
        rows,
    )
    never = int(table["back_s"].isna().sum())
    out.print(
        f"{len(table):,} evictions, {never:,} of which nobody noticed; the others made requests wait "
        f"{total_cost_s(found):,.1f} s in all, for loads of {table['load_s'].sum():,.1f} s"
    )
