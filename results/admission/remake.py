"""When should a newcomer compete with its victims? Sweeps, table and figure of this folder.

    python results/admission/remake.py [GENAI.parquet GENAI.yaml]

Without the real trace (see README.md) only the bundled one is done; the figure then has one row, and
`admission.csv` one trace.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vramlab.analysis import style
from vramlab.config.loading import load_inventory
from vramlab.experiments.sweep import sweep
from vramlab.traces.files import read_trace

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCENARIOS = ROOT / "config" / "scenarios"
POLICIES = ("seed_fixed", "decayed", "gdsf")
GRID = {
    "admission": ["always", "compete", "free_only"],
    "fallback.cpu_performance_ratio": [0.02, 0.05, 0.1, 0.2, 0.5, 1.0],
    "serving.cpu_workers": [1, 4],
}
# A CPU that can answer and refuses nobody, and all memory for models.
SETTINGS = [
    "fallback.cpu_fallback_enabled=true",
    "fallback.fallback_queue_size=1000000",
    "overhead.cuda_context_mb=0",
    "overhead.framework_mb=0",
    "overhead.buffer_mb=0",
    "serving.order=arrival",  # admission is decided when the request comes
]
BUNDLED = ("forty models", ROOT / "traces/forty_models.csv.gz", SCENARIOS / "forty_models.yaml",
           ROOT / "config/forty_models.yaml", [2400, 3600, 5344])  # fmt: skip
REAL = ("real trace", SCENARIOS / "genai_24gb.yaml", [16384, 24576, 49152])


def study(title, trace, scenario, models, sizes):
    """One row per run, with the time of a CPU answer relative to that of a load."""
    grid = {**GRID, "total_memory_mb+zones.flexible.size_mb": sizes}
    table = sweep(trace, scenario, models, grid, POLICIES, overrides=SETTINGS, jobs=1).table
    requests, inventory = read_trace(trace), load_inventory(models)
    codes = requests.model_codes
    items = 1 if requests.items is None else requests.items
    run_s = np.array([inventory[name].inference_s for name in requests.model_names])[codes] * items
    load_s = np.array([inventory[name].load_s for name in requests.model_names])[codes]
    table["cpu_over_load"] = run_s.mean() / table["fallback.cpu_performance_ratio"] / load_s.mean()
    always = table[table["admission"] == "always"]
    keys = ["policy", "fallback.cpu_performance_ratio", "serving.cpu_workers", "total_memory_mb"]
    latency = ["latency_mean_s", "latency_p99_s"]
    table = table.merge(always[keys + latency], on=keys, suffixes=("", "_always"))
    for name in latency:
        table[name.replace("_s", "_relative")] = table[name] / table[f"{name}_always"]
    columns = [*keys, "admission", "cpu_over_load", "hit_rate", "fallbacks", "load_cost_s", *latency]
    columns += ["latency_mean_relative", "latency_p99_relative"]
    table.insert(0, "study", title)
    return table[["study", *columns]]


def draw(table, path):
    """Mean latency relative to `always`, by how long the CPU takes; a column of panels per memory size."""
    studies = table["study"].unique()
    figure, panels = plt.subplots(
        len(studies), 3, figsize=(11, 3.1 * len(studies)), sharey=True, squeeze=False, layout="constrained"
    )
    table = table[table["serving.cpu_workers"] == 4]
    for row, study_name in enumerate(studies):
        rows = table[table["study"] == study_name]
        for ax, (mb, part) in zip(panels[row], rows.groupby("total_memory_mb"), strict=True):
            style.axes(ax)
            style.grid(ax)
            style.title(ax, f"{study_name}, {mb / 1024:.1f} GB for models")
            ax.axhline(0, color=style.INK, linewidth=1)
            ax.axvline(1, color=style.QUIET, linewidth=1, linestyle=":")
            for i, policy in enumerate(POLICIES):
                line = part[(part["policy"] == policy) & (part["admission"] == "compete")]
                change = 100 * (line["latency_mean_relative"] - 1)
                ax.plot(line["cpu_over_load"], change, color=style.colour(i), marker=style.MARKERS[i],
                        label=f"compete, {policy}")  # fmt: skip
            free = part[(part["policy"] == "decayed") & (part["admission"] == "free_only")]
            ax.plot(free["cpu_over_load"], 100 * (free["latency_mean_relative"] - 1), color=style.QUIET,
                    marker="x", linestyle="--", label="free_only (any policy)")  # fmt: skip
            ax.set_xscale("log")
            ax.set_ylim(-100, 100)
            ax.set_xlabel("mean time of a CPU answer / of a load")
        panels[row][0].set_ylabel("mean latency against always (%)")
    style.legend(panels[0][0], loc="upper left", bbox_to_anchor=(0.0, 0.92))
    figure.savefig(path)


def show(table):
    """The runs with four CPU workers and one policy's competition, as a Markdown table."""
    rows = table[(table["serving.cpu_workers"] == 4) & (table["policy"] == "decayed")]
    print("| trace | MB | CPU answer / load | always s | compete | p99 of compete | free_only |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for (name, mb, over), part in rows.groupby(["study", "total_memory_mb", "cpu_over_load"], sort=False):
        by = part.set_index("admission")
        mean, tail = by["latency_mean_relative"], by["latency_p99_relative"]
        changes = f"{mean['compete'] - 1:+.1%} | {tail['compete'] - 1:+.1%} | {mean['free_only'] - 1:+.0%}"
        print(f"| {name} | {mb:,.0f} | {over:.2f} | {by['latency_mean_s']['always']:.3f} | {changes} |")


def main(real):
    """Both studies, or the bundled one alone."""
    studies = [BUNDLED]
    if real:
        title, scenario, sizes = REAL
        studies.append((title, real[0], scenario, real[1], sizes))
    table = pd.concat([study(*each) for each in studies], ignore_index=True)
    table.to_csv(HERE / "admission.csv", index=False, float_format="%.6g")
    draw(table, HERE / "admission.png")
    show(table)


if __name__ == "__main__":
    main(sys.argv[1:])
