"""Makes the tables and figures of this folder again, and says what changed.

    python results/remake.py [--data FOLDER] [NAME...]

NAME is one of STEPS, all without it. Steps on the real trace need FOLDER with the publisher's
``lora_request_trace.csv`` (or ``genai_2026_requests.csv.gz``), and are skipped without. Every command is one
that a reader can type; rows of the README's table are replaced where they stand.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import os
import re
import runpy
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from vramlab.cli.app import run
from vramlab.config.files import replacing

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
SIZES_MB = (16384, 24576, 49152)
SCENARIO = "config/scenarios/genai_24gb.yaml"
# The publisher's file has 23 days of requests; what is cited is of its first fourteen.
WINDOW_S = 1_234_930
TEXTS = {".csv", ".txt", ".md", ".yaml"}


def main() -> int:
    """Run the steps that are asked for. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("steps", nargs="*", metavar="NAME", help=", ".join(STEPS))
    asked = parser.parse_args()
    unknown = set(asked.steps) - set(STEPS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    os.chdir(ROOT)
    before = contents()
    with tempfile.TemporaryDirectory() as folder:
        real = import_real(asked.data, Path(folder))
        for name in asked.steps or STEPS:
            begin = time.perf_counter()
            done = STEPS[name](real)
            print(
                f"{name}: {'made' if done else 'skipped, no real trace'}, {time.perf_counter() - begin:.0f} s"
            )
    say_changes(before, contents())
    return 0


# -- what changed --------------------------------------------------------------------------------------


def contents() -> dict[Path, bytes]:
    """All results, and the README that cites them."""
    made = [path for path in RESULTS.rglob("*") if path.is_file() and "demo" not in path.parts]
    return {path: path.read_bytes() for path in (*made, ROOT / "README.md") if path.suffix != ".py"}


def say_changes(before: dict[Path, bytes], after: dict[Path, bytes]) -> None:
    """Print which files are new or differ, and the first lines that do."""
    changed = [path for path in sorted(after) if after[path] != before.get(path)]
    print("nothing changed" if not changed else "changed:")
    for path in changed:
        name = path.relative_to(ROOT)
        if path not in before or path.suffix not in TEXTS:
            print(f"  {name}: {'new' if path not in before else 'another picture'}")
            continue
        old, new = (text.decode().splitlines() for text in (before[path], after[path]))
        lines = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:1] in "+-"][2:]
        print(f"  {name}: {len(lines)} lines")
        for line in lines[:6]:
            print(f"    {line}")


# -- running commands, writing tables ------------------------------------------------------------------


def vramlab(command: str, **words: Any) -> dict[str, Any]:
    """Run a command of vramlab with ``--json``; gives the document."""
    arguments = shlex.split(command.format(**words))
    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        status = run([*arguments, "--json"])
    if status:
        sys.exit(f"vramlab {shlex.join(arguments)}\n{said.getvalue()}")
    return dict(json.loads(printed.getvalue() or "{}"))


def import_real(data: Path, folder: Path) -> dict[str, Path] | None:
    """The real trace and its inventory, imported; None where it is not at hand."""
    names = ("lora_request_trace.csv", "lora_request_trace.csv.gz", "genai_2026_requests.csv.gz")
    source = next((data / name for name in names if (data / name).is_file()), None)
    if source is None:
        return None
    real = {"trace": folder / "genai.parquet", "models": folder / "genai.yaml"}
    command = f"import genai-2026 {{source}} --window 0:{WINDOW_S} --out {{trace}} --models-out {{models}}"
    vramlab(command, source=source, **real)
    return real


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Six digits, so that a difference is one that counts."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def update_rows(page: Path, rows: list[str], keys: int) -> None:
    """Put rows of a Markdown table in the place of those whose first `keys` cells are the same."""
    text = page.read_text(encoding="utf-8")
    for row in rows:
        start = "|".join(row.split("|")[: keys + 1]) + "|"
        if len(re.findall(rf"^{re.escape(start)}", text, re.MULTILINE)) != 1:
            sys.exit(f"{page}: not one row that begins with {start}")
        text = re.sub(rf"^{re.escape(start)}.*$", lambda _, row=row: row, text, flags=re.MULTILINE)
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def look_for(page: Path, rows: list[str]) -> None:
    """Say which rows a hand-written page has otherwise."""
    text = page.read_text(encoding="utf-8")
    for row in rows:
        if row not in text:
            print(f"{page.relative_to(ROOT)} has not: {row}")


# -- the steps -----------------------------------------------------------------------------------------


def policies(real: dict[str, Path] | None) -> bool:
    """The figure of the README, and its numbers."""
    document = vramlab(
        "compare traces/forty_models.csv.gz --config config/scenarios/forty_models.yaml "
        "--policies seed,seed_fixed,decayed,lru,lfu,fifo,gdsf,hyperbolic,s3_fifo "
        "--set serving.order=arrival "  # in which the offline optimum serves
        "--plot results/policies_forty_models.png"
    )
    keys = ["policy", "hit_rate", "loads", "evictions", "load_cost_s", "gap_closed", "latency_p95_s"]
    rows = [{key: row[key] for key in keys} for row in document["rows"]]
    optimum = {"policy": "offline optimum", "load_cost_s": document["optimum"]["load_cost_s"]}
    rows.append(optimum | {"gap_closed": 1.0})
    write_csv(pd.DataFrame(rows), RESULTS / "policies_forty_models.csv")
    return True


def real_trace(real: dict[str, Path] | None) -> bool:
    """All policies at three card sizes: the table of the README."""
    if real is None:
        return False
    found = []
    for mb in SIZES_MB:
        document = vramlab(
            "compare {trace} --config {scenario} --models {models} --mode decide --policies all "
            "--set total_memory_mb={mb} --set zones.flexible.size_mb={mb}",
            scenario=SCENARIO, mb=mb, **real,
        )  # fmt: skip
        keys = ["policy", "hit_rate", "load_cost_s", "gap_closed"]
        found += [{"total_memory_mb": mb} | {key: row[key] for key in keys} for row in document["rows"]]
        optimum = {"policy": "offline optimum", "load_cost_s": document["optimum"]["load_cost_s"]}
        found.append({"total_memory_mb": mb, **optimum, "gap_closed": 1.0})
    table = pd.DataFrame(found)
    write_csv(table, RESULTS / "real_trace.csv")
    rows = []
    for name, part in table.groupby("policy", sort=False):
        cells = [name if name == "offline optimum" else f"`{name}`"]
        for row in part.itertuples():
            rate = "" if pd.isna(row.hit_rate) else f"{100 * row.hit_rate:.1f} %"
            cells += [rate, f"{row.load_cost_s:,.0f} s", f"{100 * row.gap_closed:.0f} %"]
        rows.append("| " + " | ".join(cells).replace("|  |", "| |") + " |")
    update_rows(ROOT / "README.md", rows, keys=1)
    return True


def victim_sets(real: dict[str, Path] | None) -> bool:
    """Greedy, pruned and exact victims on the real trace."""
    if real is None:
        return False
    common = (
        "sweep {trace} --config {scenario} --models {models} --mode decide --jobs 1 "
        "--grid total_memory_mb+zones.flexible.size_mb=16384,24576,49152 --out {out} "
    )
    for name, more in (
        ("victim_sets", "--policies seed_fixed,decayed,lru --grid scoring.victims=in_order,pruned,exact"),
        (
            "whole_models",
            "--policies seed_fixed,decayed --set scoring.weights.size=0 --grid scoring.victims=pruned,exact",
        ),
    ):
        out = real["trace"].with_name(f"{name}.parquet")
        vramlab(common + more, scenario=SCENARIO, out=out, **real)
        table = pd.read_parquet(out).sort_values(["total_memory_mb", "policy"], kind="stable")
        keys = ["total_memory_mb", "policy", "scoring.victims", "hit_rate", "load_cost_s", "evictions"]
        write_csv(table[[*keys, "bytes_evicted"]], RESULTS / "victim_sets" / f"{name}.csv")
        rows = [
            f"| {row.total_memory_mb:,.0f} | `{row.policy}` | `{row['scoring.victims']}` "
            f"| {100 * row.hit_rate:.2f} % | {row.load_cost_s:,.0f} s | {row.evictions:,} "
            f"| {row.bytes_evicted / 2**30:,.0f} |"
            for _, row in table.iterrows()
        ]
        look_for(RESULTS / "victim_sets" / "README.md", rows)
    return True


def admission(real: dict[str, Path] | None) -> bool:
    """When a newcomer should compete with its victims."""
    run_script(RESULTS / "admission" / "remake.py", *([] if real is None else real.values()))
    return True


def gap_to_optimum(real: dict[str, Path] | None) -> bool:
    """What remains after tuning; the tuned settings themselves are made by hand (450 trials, see there)."""
    if real is None:
        return False
    folder = RESULTS / "gap_to_optimum"
    text = run_script(folder / "evidence.py", *real.values(), *sorted(folder.glob("tuned_*.yaml")))
    with replacing(folder / "evidence.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def scheduling(real: dict[str, Path] | None) -> bool:
    """Orders of serving, on the real trace and three synthetic workloads; the README's latencies."""
    run_script(RESULTS / "scheduling" / "remake.py", *([] if real is None else real.values()))
    run_script(RESULTS / "scheduling" / "batching.py")
    if real is not None:
        table = pd.read_csv(RESULTS / "scheduling" / "real_trace.csv")
        update_rows(ROOT / "README.md", latency_rows(table), keys=1)
    return True


def servers(real: dict[str, Path] | None) -> bool:
    """The real trace under the rules of other model servers; rows of the README."""
    if real is None:
        return False
    script = RESULTS / "servers" / "remake.py"
    run_script(script, *real.values())
    rows = runpy.run_path(str(script))["readme_rows"](pd.read_csv(RESULTS / "servers" / "servers.csv"))
    update_rows(ROOT / "README.md", list(rows), keys=1)
    return True


def latency_rows(table: pd.DataFrame) -> list[str]:
    """The README's rows: mean and 99th percentile on the later days, by memory and streams."""
    table = table[table["days"] == "later"]
    columns = [(24576, 2), (24576, 4), (16384, 2), (16384, 4)]
    rows = []
    for order in ("fifo", "arrival", "affinity", "backlog"):
        part = table[table["order"] == order].set_index(["memory_mb", "streams"])
        cells = [f"{part.mean_s[key]:,.0f} / {part.p99_s[key]:,.0f} s" for key in columns]
        rows.append(f"| order `{order}` | {' | '.join(cells)} |")
    first = table.drop_duplicates(["memory_mb", "streams"]).set_index(["memory_mb", "streams"])
    cells = [f"{first.floor_mean_s[key]:,.0f} / {first.floor_p99_s[key]:,.0f} s" for key in columns]
    return [*rows, f"| unlimited memory | {' | '.join(cells)} |"]


def run_script(script: Path, *arguments: Path) -> str:
    """What a script of a results folder prints."""
    before = sys.argv
    sys.argv = [str(script), *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return printed.getvalue()


_STEPS = (policies, real_trace, victim_sets, gap_to_optimum, admission, scheduling, servers)
STEPS: dict[str, Callable[[dict[str, Path] | None], bool]] = {step.__name__: step for step in _STEPS}


if __name__ == "__main__":
    sys.exit(main())
