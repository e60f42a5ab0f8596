"""Makes the tables and the figure of this folder again: python results/servers/remake.py TRACE MODELS

TRACE and MODELS are those of `vramlab import genai-2026`. All rows of one card size come from one comparison.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from vramlab.analysis import style
from vramlab.experiments.case import resolve_case
from vramlab.experiments.comparison import Compared, compared
from vramlab.experiments.exporting import export
from vramlab.servers import server_names, server_of
from vramlab.servers.export import EXPORTS
from vramlab.servers.preset import POOL

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZES_MB = (16384, 24576, 49152)
STREAMS = 4
MORE = ("ollama:max_loaded_models=99", "lemonade:eviction_engine=true", "vramd:max_inflight=4",
        "modelmesh:churn_guard=false")  # fmt: skip
OURS, UNLIMITED, OPTIMUM = "vramlab", "unlimited memory", "offline optimum"


def rows(trace, models):
    """Figures of ours, of every server, of unlimited memory, and the optimum, at each size."""
    for mb in SIZES_MB:
        overrides = [
            f"total_memory_mb={mb}",
            f"zones.flexible.size_mb={mb}",
            f"serving.gpu_streams={STREAMS}",
        ]
        case = resolve_case(trace, ROOT / "config/scenarios/genai_24gb.yaml", models, overrides)
        servers = sorted([*server_names(), *MORE])
        result = compared(case, Compared(servers=servers))
        for row in [*result.rows, result.floor | {"server": None, "policy": UNLIMITED}]:
            name = row["server"] or (UNLIMITED if row["policy"] == UNLIMITED else OURS)
            yield {
                "memory_mb": mb, "server": name, "requests": row["requests"],
                "refused": row["refused"], "loads": row["loads"], "load_s": row["load_cost_s"],
                "mean_s": row["latency_mean_s"], "p99_s": row["latency_p99_s"],
                "longest_s": row["latency_max_s"],
            }  # fmt: skip
        yield {"memory_mb": mb, "server": OPTIMUM, "load_s": result.optimum.load_cost_s}


def titled(name):
    """A row's first cell."""
    if name in (OURS, UNLIMITED, OPTIMUM):
        return f"**{name}**" if name == OURS else name
    server, _ = server_of(name)
    options = name.partition(":")[2]
    return server.title + (f", `{options}`" if options else "")


def tables(table):
    """A Markdown table per card size, best mean first of those that refuse nobody, then of those that do."""
    for mb, part in table.groupby("memory_mb", sort=False):
        yield f"\n**{mb // 1024} GB**\n"
        yield "| | refused | loads | loading | mean | 99th percentile | longest |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        part = part.assign(turned_away=part["refused"] > 0)
        for row in part.sort_values(["turned_away", "mean_s"], na_position="last").itertuples():
            if row.server == OPTIMUM:
                yield f"| {OPTIMUM} | | | {row.load_s:,.0f} s | | | |"
                continue
            refused = f"{100 * row.refused / row.requests:.1f} %" if row.refused else "none"
            yield (
                f"| {titled(row.server)} | {refused} | {row.loads:,.0f} | {row.load_s:,.0f} s | "
                f"{row.mean_s:,.1f} s | {row.p99_s:,.0f} s | {row.longest_s:,.0f} s |"
            )


def readme_rows(table):
    """Rows for the README: mean and 99th percentile at each size, and who was refused."""
    by = table.set_index(["server", "memory_mb"])
    names = [OURS, *server_names(), UNLIMITED]
    for name in names:
        cells = []
        for mb in SIZES_MB:
            row = by.loc[(name, mb)]
            away = f", {100 * row.refused / row.requests:.0f} % refused" if row.refused else ""
            cells.append(f"{row.mean_s:,.0f} / {row.p99_s:,.0f} s{away}")
        first = "all in memory" if name == UNLIMITED else titled(name)  # a name that no other table has
        yield f"| {first} | {' | '.join(cells)} |"


def exported(trace, models):
    """What `vramlab export` makes of each server at 24 GB: its defaults, and what is written."""
    mb = SIZES_MB[1]
    overrides = [f"total_memory_mb={mb}", f"zones.{POOL}.size_mb={mb}", f"serving.gpu_streams={STREAMS}"]
    case = resolve_case(trace, ROOT / "config/scenarios/genai_24gb.yaml", models, overrides)
    for server in EXPORTS:
        found = export(case, server)
        for what, figures in (("defaults", found.before), ("exported", found.figures)):
            yield {
                "server": server, "settings": what, "refused": figures["refused"], "loads": figures["loads"],
                "mean_s": figures["latency_mean_s"], "p99_s": figures["latency_p99_s"],
            }  # fmt: skip


def exported_rows(table):
    """A Markdown row per server."""
    yield "| | as it is set up by default: mean, 99th percentile, loads | as `vramlab export` sets it up |"
    yield "|---|--:|--:|"
    for server, part in table.groupby("server", sort=False):
        cells = [
            f"{row.mean_s:,.1f} s, {row.p99_s:,.0f} s, {row.loads:,}"
            + (f", {row.refused:,} refused" if row.refused else "")
            for row in part.itertuples()
        ]
        yield f"| {titled(server)} | {' | '.join(cells)} |"


def approximations():
    """Where each preset is not the server."""
    for name in server_names():
        server, _ = server_of(name)
        text = "; ".join(server.approximations)
        yield f"| {server.title} | {server.version} | `{server.source}` | {text} |"


def draw(table, path):
    """Mean latency by server, a panel per card size; those that refuse requests are hatched."""
    figure, panels = plt.subplots(1, len(SIZES_MB), figsize=(12, 4.6), sharey=True, layout="constrained")
    names = [OURS, *server_names()]
    order = (
        table[(table["memory_mb"] == SIZES_MB[1]) & table["server"].isin(names)]
        .sort_values("mean_s", ascending=False)["server"].tolist()
    )  # fmt: skip
    for ax, mb in zip(panels, SIZES_MB, strict=True):
        style.axes(ax)
        style.grid(ax, "x")
        style.title(ax, f"{mb // 1024} GB")
        part = table[table["memory_mb"] == mb].set_index("server")
        for place, name in enumerate(order):
            row = part.loc[name]
            colour = style.colour(0) if name == OURS else style.QUIET
            ax.barh(place, row.mean_s, color=colour, hatch="///" if row.refused else None, edgecolor="white")
            text = f" {row.mean_s:,.0f} s"
            text += f", {100 * row.refused / row.requests:.0f} % refused" if row.refused else ""
            ax.text(row.mean_s, place, text, va="center", fontsize=8, color=style.INK)
        ax.axvline(part.loc[UNLIMITED].mean_s, color=style.OPTIMUM, linewidth=1, linestyle="--")
        ax.set_xscale("log")
        ax.set_xlim(10, 60_000)
        ax.set_xticks([10, 100, 1000, 10_000], ["10", "100", "1,000", "10,000"])
        ax.minorticks_off()
        ax.set_xlabel("Mean latency of those answered (s)")
    hatched = plt.Rectangle((0, 0), 1, 1, facecolor=style.QUIET, hatch="///", edgecolor="white")
    line = plt.Line2D([], [], color=style.OPTIMUM, linestyle="--", linewidth=1)
    named = {"handles": [hatched, line], "labels": ["refuses some", "unlimited memory"]}
    style.legend(panels[-1], loc="upper right", **named)
    panels[0].set_yticks(
        range(len(order)), [OURS if name == OURS else server_of(name)[0].title for name in order]
    )
    figure.savefig(path)
    plt.close(figure)


def between(page, mark, lines):
    """Put lines between two marks of a page."""
    text = page.read_text(encoding="utf-8")
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    made = "\n".join(lines).strip("\n")
    assert len(re.findall(pattern, text, re.DOTALL)) == 1, mark
    page.write_text(
        re.sub(pattern, lambda m: f"{m[1]}{made}\n{m[2]}", text, flags=re.DOTALL), encoding="utf-8"
    )


def main(trace, models):
    """All of it."""
    table = pd.DataFrame(rows(trace, models))
    table.to_csv(HERE / "servers.csv", index=False, float_format="%.6g")
    table = pd.read_csv(HERE / "servers.csv")  # what is shown is what is kept
    between(HERE / "README.md", "tables", tables(table))
    pd.DataFrame(exported(trace, models)).to_csv(HERE / "exported.csv", index=False, float_format="%.6g")
    between(HERE / "README.md", "exported", exported_rows(pd.read_csv(HERE / "exported.csv")))
    head = ["| server | version | read | where the preset is not the server |", "|---|---|---|---|"]
    between(HERE / "README.md", "approximations", [*head, *approximations()])
    draw(table, HERE / "servers.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
