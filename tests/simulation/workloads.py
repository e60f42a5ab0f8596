"""Workloads and settings that tests and benchmarks of the simulator share."""

import numpy as np

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.traces.synthetic import zipf_trace


def plain_cache(capacity_mb, *overrides):
    """One zone of that size, nothing lost to overhead, no CPU, LRU."""
    zones = f"{{flexible: {{size_mb: {capacity_mb}, max_models: null, min_retention_time: 0}}}}"
    return load_config(
        None,
        [
            f"total_memory_mb={capacity_mb}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={zones}",
            "scoring.policy=lru",
            "fallback.cpu_fallback_enabled=false",
            "admission_by_priority.low=null",
            "optimization.monitor=false",
            *overrides,
        ],
    )


def models(rng, count, inference_ms=1.0):
    return {
        f"m{number}": ModelSpec(
            priority="medium",
            vram_size_mb=float(rng.integers(10, 200)),
            load_time_ms=float(rng.integers(20, 400)),
            inference_ms=inference_ms,
        )
        for number in range(count)
    }


def workload(seed=0, requests=20_000, count=50, share=0.25, rate_per_s=5.0, exponent=1.0, inference_ms=20.0):
    """(trace, inventory, capacity in MB): a Zipf trace over models of which a share of the bytes fits."""
    rng = np.random.default_rng(seed)
    inventory = models(rng, count, inference_ms)
    capacity_mb = round(share * sum(spec.vram_size_mb for spec in inventory.values()))
    trace = zipf_trace(
        rng, models=list(inventory), requests=requests, rate_per_s=rate_per_s, exponent=exponent
    )
    return trace, inventory, capacity_mb
