"""How time and memory grow with requests and with models: growth.csv and growth.png, in five minutes at most.

    python results/speed/growth.py [--seconds 280] [--seed 0]

Every point is a process of its own: seconds of the processor that the call alone took, with its peak memory,
imports and trace included. Sizes grow tenfold. One that would not end in its share of the time, as the one
before it took, is left out, and said. Requests are drawn from 200 models, and models for 20,000 requests
(Zipf 0.9); a quarter of the bytes fits. If every request missed, loads would take half of the time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1])]

MODELS, REQUESTS = 200, 20_000  # of the one while the other grows
SIZES = {"requests": [10_000, 100_000, 1_000_000, 10_000_000], "models": [10, 100, 1000, 10_000, 100_000]}
CALLS = ("decide", "simulate", "compare")
_BUSY = 0.5  # share of the time that loads would take if every request were one


def workload(requests: int, models: int, seed: int) -> tuple[Any, Any, Any]:
    """Return trace, configuration and inventory of a point."""
    from vramlab.config.loading import load_config
    from vramlab.config.schema import ModelSpec
    from vramlab.traces.trace import Trace

    rng = np.random.default_rng(seed)
    weights = np.arange(1, models + 1) ** -0.9
    codes = rng.choice(models, size=requests, p=weights / weights.sum())
    sizes_mb = rng.integers(10, 1000, size=models)
    names = np.array([f"m{place}" for place in range(models)], dtype=object)
    load_ms = 3.4 * sizes_mb
    gap_s = float(load_ms[codes].mean()) / 1000 / _BUSY
    columns = {"time_s": np.cumsum(rng.exponential(gap_s, requests)), "model": pd.Series(names[codes])}
    trace = Trace.from_frame(pd.DataFrame(columns))
    inventory = {
        name: ModelSpec(priority="medium", vram_size_mb=size, load_time_ms=load, cpu_fallback="none")
        for name, size, load in zip(names.tolist(), sizes_mb.tolist(), load_ms.tolist(), strict=True)
    }
    room = max(int(sizes_mb.sum()) // 4, int(sizes_mb.max()))
    plain = HERE.parents[1] / "config" / "scenarios" / "plain.yaml"
    changes = [f"total_memory_mb={room}", f"zones.flexible.size_mb={room}", "scoring.policy=lru"]
    return trace, load_config(plain, changes), inventory


def point(call: str, requests: int, models: int, seed: int) -> dict[str, Any]:
    """Make one call of a size, in this process; returns what it took."""
    from vramlab.experiments.comparison import compare
    from vramlab.experiments.replay import replay

    trace, config, inventory = workload(requests, models, seed)
    begin_s, begin_wall_s = time.process_time(), time.monotonic()
    if call == "compare":
        row = compare(trace, config, inventory, ["lru", "gdsf"]).rows[0]
    else:
        row = replay(trace, config, inventory, "decide" if call == "decide" else "simulate").figures
    cpu_s, wall_s = time.process_time() - begin_s, time.monotonic() - begin_wall_s
    # macOS counts bytes
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 1024
    )
    found = {"cpu_s": round(cpu_s, 3), "wall_s": round(wall_s, 3), "peak_mb": round(peak_mb)}
    return found | {"hit_rate": round(row["hit_rate"], 4)}


def measured(seconds: float, seed: int) -> tuple[pd.DataFrame, list[str]]:
    """Measure all series in turn, small sizes first; returns the table and what was left out."""
    end_s = time.monotonic() + seconds
    series = [(call, axis) for axis in SIZES for call in CALLS]
    took_s, rows, left_out = dict.fromkeys(series, 0.0), [], []
    for place in range(max(map(len, SIZES.values()))):
        for call, axis in series:
            if place >= len(SIZES[axis]):
                continue
            size = SIZES[axis][place]
            # of ten times the requests the call takes ten times as long, or little more
            likely_s = took_s[call, axis] * (10 if axis == "requests" else 2)
            begin_s = time.monotonic()
            share_s = (end_s - begin_s) / 3  # no size takes more of what is left
            requests, models = (size, MODELS) if axis == "requests" else (REQUESTS, size)
            found = None
            if likely_s < share_s:
                found = in_a_process([call, str(requests), str(models), "--seed", str(seed)], share_s)
            took_s[call, axis] = np.inf if found is None else found["wall_s"]
            if found is None:
                left_out.append(f"{call} of {size:,} {axis}")
                continue
            rows.append({"call": call, "grows": axis, "requests": requests, "models": models} | found)
            print(*rows[-1].values(), file=sys.stderr)
    return pd.DataFrame(rows), left_out


def in_a_process(arguments: list[str], seconds: float) -> dict[str, Any] | None:
    """Return what a point took, or None if it did not end in time."""
    command = [sys.executable, __file__, "--point", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    except subprocess.CalledProcessError as error:  # out of memory, say
        print(f"{' '.join(arguments)} failed: {error.stderr[-300:] or error.returncode}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout))


def plot(table: pd.DataFrame, path: Path) -> None:
    """Draw seconds and memory over both sizes, with a line for what grows in proportion."""
    import matplotlib.pyplot as plt

    from vramlab.analysis.style import colour, grid

    figure, places = plt.subplots(2, 2, figsize=(9, 6), sharex="col", layout="constrained")
    what = {"cpu_s": "processor time, s", "peak_mb": "peak memory, MB"}
    for row, (key, label) in enumerate(what.items()):
        for column, axis in enumerate(SIZES):
            ax = places[row, column]
            part = table[table["grows"] == axis]
            for index, call in enumerate(CALLS):
                of = part[part["call"] == call]
                ax.plot(of[axis], of[key], "o-", color=colour(index), label=call)
            ends = np.array([part[axis].min(), part[axis].max()], dtype=float)
            if key == "cpu_s" and axis == "requests":
                first = part[part["requests"] == ends[0]]["cpu_s"].min()
                ax.plot(ends, first * ends / ends[0], ":", color="grey", label="in proportion")
            ax.set(xscale="log", yscale="log")
            grid(ax)
            if row == 1:
                ax.set_xlabel("requests (200 models)" if axis == "requests" else "models (20,000 requests)")
            if column == 0:
                ax.set_ylabel(label)
    places[0, 0].legend(frameon=False)
    figure.suptitle("Time and memory by size of the input", x=0.02, ha="left")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure, write and draw; or one point, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=280.0, help="end after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--point", nargs=3, metavar=("CALL", "REQUESTS", "MODELS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        call, requests, models = given.point
        print(json.dumps(point(call, int(requests), int(models), given.seed)))
        return
    table, left_out = measured(given.seconds, given.seed)
    table.sort_values(["grows", "call", "requests", "models"]).to_csv(HERE / "growth.csv", index=False)
    plot(table, HERE / "growth.png")
    print(f"left out, as it would take too long here: {', '.join(left_out) or 'nothing'}")


if __name__ == "__main__":
    main()
