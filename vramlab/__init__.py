"""vramlab: which models stay in VRAM?

>>> import vramlab
>>> result = vramlab.compare("traces/synthetic_tight.csv.gz", "config/scenarios/tight.yaml")
>>> result.frame()[["policy", "hit_rate", "load_cost_s", "gap_closed"]]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vramlab.config.loading import load_config, load_inventory
    from vramlab.config.schema import ModelSpec, VramConfig
    from vramlab.experiments.advising import advise
    from vramlab.experiments.comparison import compare
    from vramlab.experiments.following import follow_run
    from vramlab.experiments.preload_curve import preload_curve
    from vramlab.experiments.replay import replay
    from vramlab.experiments.replay import replay as simulate
    from vramlab.experiments.sweep import sweep
    from vramlab.experiments.tuning import tune
    from vramlab.experiments.verification import verify
    from vramlab.live.runtime import LiveRuntime
    from vramlab.simulation.server import Server
    from vramlab.traces.files import read_trace as load_trace
    from vramlab.traces.trace import Trace

# Looked up when first used, so that `import vramlab` and the simulator do not load ONNX Runtime.
_HOMES = {
    "LiveRuntime": ("vramlab.live.runtime", "LiveRuntime"),
    "ModelSpec": ("vramlab.config.schema", "ModelSpec"),
    "Server": ("vramlab.simulation.server", "Server"),
    "Trace": ("vramlab.traces.trace", "Trace"),
    "VramConfig": ("vramlab.config.schema", "VramConfig"),
    "advise": ("vramlab.experiments.advising", "advise"),
    "compare": ("vramlab.experiments.comparison", "compare"),
    "follow_run": ("vramlab.experiments.following", "follow_run"),
    "load_config": ("vramlab.config.loading", "load_config"),
    "load_inventory": ("vramlab.config.loading", "load_inventory"),
    "load_trace": ("vramlab.traces.files", "read_trace"),
    "preload_curve": ("vramlab.experiments.preload_curve", "preload_curve"),
    "replay": ("vramlab.experiments.replay", "replay"),
    "simulate": ("vramlab.experiments.replay", "replay"),
    "sweep": ("vramlab.experiments.sweep", "sweep"),
    "tune": ("vramlab.experiments.tuning", "tune"),
    "verify": ("vramlab.experiments.verification", "verify"),
}

__all__ = [
    "LiveRuntime",
    "ModelSpec",
    "Server",
    "Trace",
    "VramConfig",
    "advise",
    "compare",
    "follow_run",
    "load_config",
    "load_inventory",
    "load_trace",
    "preload_curve",
    "replay",
    "simulate",
    "sweep",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vramlab' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
