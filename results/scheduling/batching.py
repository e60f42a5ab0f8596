"""Makes batching.csv again: python results/scheduling/batching.py

What joining requests that wait for one model brings (``serving.batching``): 20 models, one stream, by how
much of a run's time does not depend on how many items it has.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.synthetic import zipf_trace

HERE = Path(__file__).parent
INFERENCE_S = 0.02
SHARES = (0.0, 0.5, 0.9)  # of a run of one item that a run of any number has once
LOADS = (0.5, 0.9, 1.5)  # of the stream, if every request runs by itself
MEMORY_MB = {"all": 2000, "half": 1000}
REQUESTS = 20_000


class Times(SpecTimes):
    """Runs of which a share of the time is needed once, however many items they have."""

    def __init__(self, config, inventory, share):
        super().__init__(config, inventory)
        self.share = share

    def infer_s(self, model, target, items):
        """As long as one item, and for each more what is not shared."""
        return super().infer_s(model, target, 1) * (self.share + (1 - self.share) * items)


def rows():
    """Mean and 99th percentile in milliseconds, one by one and joined."""
    names = [f"m{number}" for number in range(20)]
    model = ModelSpec(
        priority="medium", vram_size_mb=100, load_time_ms=300, inference_ms=1000 * INFERENCE_S,
        splits=True, batch_size=8,
    )  # fmt: skip
    inventory = dict.fromkeys(names, model)
    for memory, load in product(MEMORY_MB, LOADS):
        trace = zipf_trace(
            np.random.default_rng(0),
            models=names,
            requests=REQUESTS,
            rate_per_s=load / INFERENCE_S,
            exponent=1.0,
        )
        for order, share, joined in product(("fifo", "backlog"), SHARES, (False, True)):
            size_mb = MEMORY_MB[memory]
            config = load_config(
                None,
                [
                    f"total_memory_mb={size_mb}",
                    "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
                    f"zones={{flexible: {{size_mb: {size_mb}, max_models: null, min_retention_time: 0}}}}",
                    "fallback.cpu_fallback_enabled=false",
                    "admission_by_priority.low=null",
                    "optimization.monitor=false",
                    f"serving.order={order}",
                    f"serving.batching={joined}",
                ],
            )
            latency_s = simulate(trace, config, inventory, Times(config, inventory, share)).latency_s
            yield {
                "memory": memory, "load": load, "order": order, "shared": share, "joined": joined,
                "mean_ms": 1000 * latency_s.mean(), "p99_ms": 1000 * np.percentile(latency_s, 99),
            }  # fmt: skip


def show(table):
    """The table of README.md."""
    print("| memory, load, order |", " | ".join(f"{share:.0%} shared: off, on" for share in SHARES), "|")
    print("|---|" + "--:|" * len(SHARES))
    for (memory, load, order), part in table.groupby(["memory", "load", "order"], sort=False):
        cells = []
        for _, pair in part.groupby("shared", sort=False):
            off, on = (f"{row.mean_ms:,.0f} / {row.p99_ms:,.0f}" for row in pair.itertuples())
            cells.append(f"{off}, {on}")
        print(f"| {memory}, {load:g}, `{order}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    made = pd.DataFrame(rows())
    made.to_csv(HERE / "batching.csv", index=False, float_format="%.6g")
    show(made)
