"""``pin-cost`` and ``hardware``: what a pin, more memory or faster loading would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm

from vramlab.analysis.question_plots import hardware_plot, pin_plot
from vramlab.cli.inputs import CaseOptions, JsonOption, PlotOption, grouped
from vramlab.cli.output import count, log, out, print_json, print_table, save_plot, seconds
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs
from vramlab.experiments.questions import EXTRA_GB, SPEEDS, PinCost, hardware, pin_cost


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("pin-cost")(pin_cost_command)
    app.command("hardware")(hardware_command)


@grouped
def pin_cost_command(
    inputs: CaseOptions,
    model: Annotated[list[str], typer.Option("--model", help="Model to pin; may be repeated.")],
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """What does this pin cost? Load time and delay with a model pinned, less without, per model and priority.

    Example: vramlab pin-cost traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml
    --model tagger-1.onnx
    """
    check_outputs([plot], inputs.files)
    case = inputs.resolve()
    if case.mode == "decide":
        raise InputError("--mode", "", "decide", "simulate: in the other mode nobody is delayed")
    found = pin_cost(case, model)
    if plot is not None:
        save_plot(pin_plot(found.models, f"{inputs.trace.name}: {', '.join(model)} pinned"), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json(
            {
                "pinned": list(model),
                "models": found.models.to_dict("records"),
                "priorities": found.priorities.to_dict("records"),
                "without": found.without,
                "with": found.pinned,
            }
        )  # fmt: skip
    else:
        _show_pin(found, f"{inputs.trace}: {', '.join(model)} pinned")


def _signed(value_s: float) -> str:
    return f"{value_s:+,.1f} s"


def _show_pin(found: PinCost, title: str) -> None:
    header = ["", "requests", "loading", "delay, all requests", "delay, each"]

    def cells(name: str, row: Mapping[Any, Any]) -> tuple[str, ...]:
        each = row["delay_s"] / max(row["requests"], 1)
        return (
            name,
            count(int(row["requests"])),
            _signed(row["load_s"]),
            _signed(row["delay_s"]),
            f"{each:+.3g} s",
        )

    table = found.models.sort_values("delay_s", key=abs, ascending=False, kind="stable")
    rows = [cells(str(row["model"]), row) for row in table[:15].to_dict("records")]
    print_table(f"{title}, less without", header, rows)
    print_table(
        "by priority", header, [cells(str(r["priority"]), r) for r in found.priorities.to_dict("records")]
    )
    load_s, delay_s = found.models["load_s"].sum(), found.models["delay_s"].sum()
    before, after = (f"{figures['latency_mean_s']:.4g} s" for figures in (found.without, found.pinned))
    word = "costs" if delay_s > 0 else "spares"
    out.print(
        f"the pin {word} {abs(delay_s):,.1f} s of waiting and changes loading by {_signed(load_s)}; "
        f"mean latency {before} without it, {after} with it"
    )


@grouped
def hardware_command(
    inputs: CaseOptions,
    extra_gb: Annotated[
        str, typer.Option("--extra-gb", metavar="GB,GB,...", help="Memory on top of the card's.")
    ] = ",".join(f"{gb:g}" for gb in EXTRA_GB),
    speeds: Annotated[
        str, typer.Option("--speeds", metavar="N,N,...", help="Times as fast as loads are now.")
    ] = ",".join(f"{speed:g}" for speed in SPEEDS),
    plot: PlotOption = None,
    as_json: JsonOption = False,
) -> None:
    """Would a bigger card help, or a faster disk? Seconds of waiting per GB, and per GB/s of loading.

    Example: vramlab hardware traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml
    --extra-gb 1,2,4 --speeds 1.5,2
    """
    check_outputs([plot], inputs.files)
    case = inputs.resolve()
    if case.mode == "decide":
        raise InputError("--mode", "", "decide", "simulate: in the other mode nothing takes time")
    sizes, factors = _numbers("--extra-gb", extra_gb), _numbers("--speeds", speeds)
    with tqdm(
        total=1 + len(sizes) + len(factors), desc="hardware", unit="run", disable=None, leave=False
    ) as bar:
        table = hardware(case, sizes, factors, bar.update)
    if plot is not None:
        title = f"{inputs.trace.name}: a bigger card, or a faster disk?"
        save_plot(hardware_plot(table, "latency_mean_s", "Mean latency (s)", title), plot)
        log.print(f"written to {plot}")
    if as_json:
        print_json({"rows": table.to_dict("records")})
    else:
        _show_hardware(table, str(inputs.trace))


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(option, "", repr(text), "numbers with commas between") from None


def _show_hardware(table: pd.DataFrame, title: str) -> None:
    rows = []
    for row in table.to_dict("records"):
        change = str(row["change"])
        per = f"{row['saved_per_s']:,.1f} s per GB"
        name, that_is = {
            "now": ("as it is", "-"),
            "memory": (f"{row['memory_gb']:.1f} GB", per),
            "loading": (f"{row['speed']:g} x", f"{per}/s"),
        }[change]
        figures = [row[key] for key in ("latency_mean_s", "latency_p99_s")]
        means = ["-" if pd.isna(value) else f"{value:.4g} s" for value in figures]
        memory, rate = f"{row['memory_gb']:.1f} GB", f"{row['gb_per_s']:.3g} GB/s"
        loading, spared = seconds(row["load_cost_s"]), seconds(row["saved_s"])
        rows.append((name, memory, rate, loading, *means, spared, that_is))
    header = ["", "memory for models", "loading at", "load time", "mean", "99th percentile", "waiting spared",
              "that is"]  # fmt: skip
    if table["unserved"].any():
        header.append("not served")
        rows = [(*row, count(lost)) for row, lost in zip(rows, table["unserved"], strict=True)]
    print_table(title, header, rows)
    if table["unserved"].any():
        out.print("who was not served counts as the slowest cold start in what is spared, and in no mean")
