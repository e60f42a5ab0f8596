"""A run in a few lines: models, requests, rules; and what came of it."""

import pandas as pd

from vramlab.config.schema import ModelSpec, Priority, VramConfig
from vramlab.experiments.replay import replay
from vramlab.runs.lockstep import lockstep
from vramlab.traces.trace import Trace


def spec(size_mb, load_ms=1000, run_ms=100, priority="medium"):
    return ModelSpec(
        priority=Priority(priority), vram_size_mb=size_mb, load_time_ms=load_ms, inference_ms=run_ms
    )


def config_of(memory_mb=100, **sections):
    base = {
        "total_memory_mb": memory_mb,
        "overhead": {"cuda_context_mb": 0, "framework_mb": 0, "buffer_mb": 0},
        "zones": {"flexible": {"size_mb": memory_mb, "max_models": None, "min_retention_time": 0}},
        "scoring": {"policy": "lru"},
        "fallback": {"cpu_fallback_enabled": False},
        "caching": {"enable_result_caching": False},
        "optimization": {"monitor": False},
        "serving": {"unload_time_ms": 0, "gpu_streams": 4, "load_channels": 1},
    }
    for section, values in sections.items():
        known = base.get(section)
        base[section] = known | values if isinstance(known, dict) and isinstance(values, dict) else values
    return VramConfig.model_validate(base)


def trace_of(*rows):
    columns = ["time_s", "model", "priority"][: len(rows[0])]
    return Trace.from_frame(pd.DataFrame(rows, columns=columns))


class Run:
    """What came of a simulated run, whose journal is followed in lock-step as well."""

    def __init__(self, rows, models, config, **options):
        self.result = replay(trace_of(*rows), config, models, journal=True, **options)
        self.lines = list(self.result.journal)
        self.records, self.figures = self.result.records, self.result.figures

    def check_lockstep(self, models, config):
        report = lockstep(self.lines, config, models)
        assert report.differences == []
        return self

    @property
    def loads(self):
        """(start, model) of each load."""
        return [(round(row.start_s, 3), row.model) for row in self.records.loads]

    @property
    def left(self):
        """(time, model, reason) of each that left."""
        return [(round(row.time_s, 3), row.model, row.reason) for row in self.records.evictions]

    @property
    def outcomes(self):
        return [line.what for line in self.lines if line.event == "done"]

    @property
    def latencies(self):
        return [round(float(value), 3) for value in self.records.latency_s]


def run(rows, models, config, **options):
    return Run(rows, models, config, **options).check_lockstep(models, config)
