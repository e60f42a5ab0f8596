import pandas as pd
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.traces.trace import Trace


def spec(size_mb, **values):
    return ModelSpec(**{"priority": "medium", "vram_size_mb": size_mb, "load_time_ms": 100, **values})


@pytest.fixture
def inventory():
    return {
        "guard": spec(2, priority="critical", always_loaded=True),
        "face": spec(6, priority="high"),
        "small": spec(4),
        "large": spec(8),
    }


@pytest.fixture
def config():
    """20 MB in three zones: of small and large only one fits the flexible zone."""
    zones = (
        "zones={critical: {size_mb: 4}, high_priority: {size_mb: 6, min_retention_time: 0, borrowers: []}, "
        "flexible: {size_mb: 10, min_retention_time: 0, borrowers: []}}"
    )
    overhead = "overhead={cuda_context_mb: 4, framework_mb: 0, buffer_mb: 0}"
    quiet = ["caching.enable_result_caching=false", "optimization.monitor=false"]
    return load_config(None, ["total_memory_mb=24", overhead, zones, *quiet])


@pytest.fixture
def trace():
    models = ["face", "small", "large", "small", "guard", "large"] * 20
    frame = pd.DataFrame({"time_s": [float(second) for second in range(len(models))], "model": models})
    return Trace.from_frame(frame, "by <hand>")
