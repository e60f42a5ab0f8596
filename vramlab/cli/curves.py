"""``curve``: hit rate and load cost over capacity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from vramlab.analysis.plots import capacity_plot
from vramlab.cli.inputs import (
    JsonOption,
    SeedOption,
    SettingsOptions,
    TraceArgument,
    grouped,
    memory_bytes,
)
from vramlab.cli.output import (
    count,
    log,
    mebibytes,
    percent,
    picture,
    print_json,
    print_table,
    save_plot,
    seconds,
)
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.experiments.curves import POINTS, Sampling, curve


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("curve")(curve_command)


@dataclass(frozen=True)
class CurveOptions:
    """What is drawn."""

    policy: Annotated[str, typer.Option("--policy", help="Eviction policy.")] = "lru"
    capacities: Annotated[
        str | None,
        typer.Option("--capacities", metavar="MB,MB,...", help=f"Default: {POINTS} in equal steps."),
    ] = None
    sample: Annotated[
        float | None, typer.Option("--sample", help="Share of a long trace to replay, with its error.")
    ] = None
    sample_by: Annotated[
        Literal["models", "time"],
        typer.Option("--sample-by", help="models: needs many hundreds; time: stretches of the trace."),
    ] = "models"
    jobs: Annotated[
        int | None, typer.Option("--jobs", help="Processes on this machine; one per core if left out.")
    ] = 1


@grouped
def curve_command(
    trace: TraceArgument,
    what: CurveOptions,
    settings: SettingsOptions,
    seed: SeedOption = 0,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", callback=picture, help="Picture of the hit rates to write."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show hit rate and load cost of a policy by memory size, in a plain memory without queues.

    LRU takes one pass and is exact; any other policy is replayed per capacity, or on samples (--sample).

    Example: vramlab curve traces/synthetic_tight.csv.gz --policy gdsf --models config/model_config.yaml
    """
    check_outputs([plot], [trace, *settings.files])
    chosen = _capacities(what.capacities)
    case = settings.case(trace, seed=seed)
    sampling = None if what.sample is None else Sampling(what.sample, what.sample_by)
    with tqdm(total=len(chosen) or POINTS, desc="curve", unit="run", disable=None, leave=False) as progress:
        table = curve(case, what.policy, chosen, sampling, what.jobs, progress.update)
    method = table["method"].iloc[0]
    if sampling is not None and "exact" in method:
        log.print("LRU needs no sample: the curve is exact")
    if plot is not None:
        save_plot(capacity_plot(table, title=f"{trace.name}: {len(case.trace):,} requests"), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json({"policy": what.policy, "method": method, "rows": table.to_dict("records")})
    else:
        _show(table, f"{trace}: {what.policy}, {method}")


def _capacities(text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        sizes_mb = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError("--capacities", "", repr(text), "sizes in MB with commas between") from None
    return sorted({memory_bytes("--capacities", size_mb) for size_mb in sizes_mb})


def _show(table: pd.DataFrame, title: str) -> None:
    sampled = "exact" not in table["method"].iloc[0]
    header = [
        "memory",
        "hit rate",
        *(["standard error"] if sampled else []),
        "load cost",
        "unserved",
        "whole cost",
    ]
    rows = []
    row: Any  # named after the frame's columns, which pandas' types cannot know
    for row in table.itertuples(index=False):
        shown = np.isfinite(row.hit_rate)
        rows.append(
            [
                mebibytes(row.capacity_bytes),
                percent(row.hit_rate) if shown else "no room in a sample",
                *([f"{100 * row.hit_rate_error:.2f} points" if shown else "-"] if sampled else []),
                seconds(row.load_cost_s) if shown else "-",
                count(row.unserved),
                seconds(row.cost_s) if shown and np.isfinite(row.cost_s) else "-",
            ]
        )
    print_table(title, header, rows)
    missed = table["hit_rate_missed"].iloc[0]
    if missed:
        log.print(f"for want of history the hit rate may be up to {100 * missed:.2f} points higher (for LRU)")
