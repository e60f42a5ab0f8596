"""Makes the tables of this folder again: python results/scheduling/remake.py [TRACE MODELS]

TRACE and MODELS are those of `vramlab import genai-2026`; without them only the synthetic workloads are made.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vramlab.analysis import style
from vramlab.config.loading import load_config, load_inventory
from vramlab.engine.outcomes import Outcome
from vramlab.experiments.floor import with_memory_for_all
from vramlab.simulation.replaying import simulate
from vramlab.traces.files import read_trace
from vramlab.traces.generate import generate
from vramlab.traces.spec import load_spec
from vramlab.traces.trace import Trace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ORDERS = ("fifo", "arrival", "affinity", "backlog")
TRIED = ("in_order", "short_loads", "longest_line", "longest_wait")
CUT_S = 716_530  # 2024-11-24 00:00, as in gap_to_optimum
WORKLOADS = ("steady", "bursty", "pipeline")
LOADS = (0.1, 0.5, 1.0, 2.0)


def figures(latency_s):
    """Mean, 99th percentile, longest; and how many were not answered."""
    known = latency_s[~np.isnan(latency_s)]
    mean, p99, longest = known.mean(), np.percentile(known, 99), known.max()
    return {"mean_s": mean, "p99_s": p99, "longest_s": longest, "lost": len(latency_s) - len(known)}


def real_rows(trace, inventory):
    """Each order at three sizes with two and four streams, before and after the cut."""
    names = (*ORDERS, *(f"results.scheduling.orders_tried:{name}" for name in TRIED))
    for streams, mb in product((2, 4), (16384, 24576, 49152)):
        config = load_config(
            ROOT / "config/scenarios/genai_24gb.yaml",
            [f"total_memory_mb={mb}", f"zones.flexible.size_mb={mb}", f"serving.gpu_streams={streams}"],
        )
        floor = simulate(trace, with_memory_for_all(config, inventory), inventory).latency_s
        for order in names:
            setting = load_config(
                ROOT / "config/scenarios/genai_24gb.yaml",
                [f"total_memory_mb={mb}", f"zones.flexible.size_mb={mb}", f"serving.gpu_streams={streams}",
                 f"serving.order={order}"],
            )  # fmt: skip
            records = simulate(trace, setting, inventory)
            for days, kept in (("first", trace.times_s < CUT_S), ("later", trace.times_s >= CUT_S)):
                least, here = figures(floor[kept]), figures(records.latency_s[kept])
                yield {
                    "order": order.rpartition(":")[2], "memory_mb": mb, "streams": streams, "days": days,
                    **here, "loads": len(records.loads),
                    **{f"floor_{key}": least[key] for key in ("mean_s", "p99_s", "longest_s")},
                    "price_mean_s": here["mean_s"] - least["mean_s"],
                }  # fmt: skip


def synthetic_rows():
    """Three workloads at a tenth of their rate to twice that, with and without a CPU to fall back on."""
    inventory = load_inventory(ROOT / "results/fidelity/models.yaml")
    for name, load, cpu in product(WORKLOADS, LOADS, (True, False)):
        spec = load_spec(ROOT / f"results/scheduling/inputs/{name}.yaml")
        made = generate(spec.model_copy(update={"duration_s": 900.0}))
        trace = Trace.from_frame(made.frame.assign(time_s=made.frame["time_s"] / load), made.source)
        for order, when in [*((order, "full") for order in ORDERS), ("backlog", "earliest_finish")]:
            if when != "full" and not cpu:
                continue
            config = load_config(
                ROOT / "results/scheduling/inputs/config.yaml",
                [f"serving.order={order}", f"fallback.cpu_fallback_enabled={str(cpu).lower()}",
                 f"fallback.when={when}"],
            )  # fmt: skip
            records = simulate(trace, config, inventory)
            yield {
                "workload": name, "load": load, "cpu": cpu, "order": order, "when": when,
                **figures(records.latency_s), "loads": len(records.loads),
                "on_cpu": int(np.sum(records.outcomes == Outcome.FALLBACK)),
            }  # fmt: skip


def draw(table, path):
    """Mean latency over load, without a CPU to fall back on."""
    figure, panels = plt.subplots(1, len(WORKLOADS), figsize=(11, 3.4), sharey=True, layout="constrained")
    for ax, name in zip(panels, WORKLOADS, strict=True):
        style.axes(ax)
        style.grid(ax)
        style.title(ax, name)
        for i, order in enumerate(ORDERS):
            line = table[(table["workload"] == name) & ~table["cpu"] & (table["order"] == order)]
            ax.plot(line["load"], 1000 * line["mean_s"], color=style.colour(i), marker=style.MARKERS[i],
                    label=order)  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(LOADS, [f"{load:g}" for load in LOADS])
        ax.set_yticks([10, 100, 1000, 10_000], ["10 ms", "100 ms", "1 s", "10 s"])
        ax.minorticks_off()
        ax.set_xlabel("Load, as a multiple of the workload's")
    panels[0].set_ylabel("Mean latency")
    style.legend(panels[0], loc="upper left")
    figure.savefig(path)
    plt.close(figure)


def show_real(table):
    """The real trace as a Markdown table: ratios to the floor, and the price in seconds."""
    print(
        "| memory, streams, days | floor: mean / p99 / longest, s |", " | ".join(table["order"].unique()), "|"
    )
    print("|---|--:|" + "--:|" * table["order"].nunique())
    for (mb, streams, days), part in table.groupby(["memory_mb", "streams", "days"], sort=False):
        by = part.set_index("order")
        least = by.iloc[0]
        cells = [
            f"{row.mean_s:.0f} / {row.p99_s:,.0f} / {row.longest_s:,.0f}"
            + (f", {row.lost} lost" if row.lost else "")
            for row in by.itertuples()
        ]
        floor = f"{least.floor_mean_s:.0f} / {least.floor_p99_s:,.0f} / {least.floor_longest_s:,.0f}"
        print(f"| {mb // 1024} GB, {streams}, {days} | {floor} | {' | '.join(cells)} |")


def main(real):
    """Both tables, or the synthetic one alone."""
    if real:
        sys.path.insert(0, str(ROOT))
        table = pd.DataFrame(real_rows(read_trace(real[0]), load_inventory(real[1])))
        table.to_csv(HERE / "real_trace.csv", index=False, float_format="%.6g")
        show_real(table)
    table = pd.DataFrame(synthetic_rows())
    table.to_csv(HERE / "synthetic.csv", index=False, float_format="%.6g")
    draw(table, HERE / "synthetic.png")


if __name__ == "__main__":
    main(sys.argv[1:])
