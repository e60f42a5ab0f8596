"""Profile, record and verify the real models, and write ``results/real_models``: on an idle machine.

``make real-models`` first, then ``python -m tests.real_models.measure`` (six minutes).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

from tests.real_models.catalogue import RealModel
from tests.real_models.serving import inputs_file, models, tight
from vramlab.config.schema import Inventory, ModelSpec
from vramlab.config.units import MIB
from vramlab.experiments.case import Case
from vramlab.experiments.recording import record_run
from vramlab.experiments.verification import Verification, verify
from vramlab.live.backend import with_file_sizes
from vramlab.live.footprints import footprint
from vramlab.live.measurements import Measurements
from vramlab.live.model_files import check_model_file
from vramlab.live.profiler import profile
from vramlab.runs.run_folder import write_json
from vramlab.traces.trace import Trace

OUT = Path(__file__).parents[2] / "results" / "real_models"
_TWELVE = (
    "faces_large", "file_types", "voice_print", "safe_pictures", "mel", "text", "text_lines", "speech",
    "turns", "sentences", "vowels", "upright",
)  # fmt: skip
_SECONDS, _RATE_PER_S = 90.0, 5.0


def main() -> None:
    """Measure everything, and write a table of models and a file of figures."""
    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        unknown = {
            model.name: ModelSpec(
                priority="medium",
                vram_size_mb=1,
                load_time_ms=1,
                path=str(model.path),
                inputs=inputs_file(model, folder),
            )
            for model in models()
        }
        unknown = with_file_sizes(unknown)
        roomy = tight({"all": ModelSpec(priority="medium", vram_size_mb=6000, load_time_ms=1)})
        begin_s = time.perf_counter()
        profile(roomy, {name: unknown[name] for name in _TWELVE}, "cpu-emulated")
        twelve_s = time.perf_counter() - begin_s
        profiled, found = profile(roomy, unknown, "cpu-emulated")
        table = table_of(models(), profiled, found)
        table.to_csv(OUT / "models.csv", index=False, float_format="%.4g")
        verified = recorded(profiled, found, folder / "run")
    command = [sys.executable, "-m", "tests.real_models.serving", "600"]  # whose memory is its own
    served = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    figures = figures_of(verified, found) | {"profile_of_twelve_s": round(twelve_s, 1), "served": served}
    write_json(figures, OUT / "figures.json")
    print(table.to_string(), json.dumps(figures, indent=1), sep="\n")


def table_of(some: list[RealModel], profiled: Inventory, found: Measurements) -> pd.DataFrame:
    """One row per model: sizes in MB, times in ms, and what was chosen."""
    rows = []
    for model in some:
        spec = profiled[model.name]
        stages = [stage for stage in found.stages if (stage.model, stage.target) == (model.name, "gpu")]
        true = footprint(stages) if stages else None
        rows.append(
            {
                "model": model.name,
                "package": model.package,
                "file_mb": check_model_file(model.path).size_bytes / MIB,
                "resident_mb": true.resident_bytes / MIB if true else None,
                "workspace_mb": true.workspace_bytes / MIB if true else None,
                "load_ms": spec.load_time_ms,
                "first_run_ms": spec.warm_up_ms,
                "run_ms": spec.inference_ms,
                "prepacking": spec.session_options.prepacking,
                "splits": spec.splits,
                "special": model.special,
            }
        )
    return pd.DataFrame(rows)


def recorded(profiled: Inventory, found: Measurements, out: Path) -> Verification:
    """A live run under a budget of a quarter of all, by popularity, held against the simulator."""
    rng = np.random.default_rng(3)
    names = [name for name in profiled if name not in found.failed]
    weights = 1 / np.arange(1, len(names) + 1) ** 0.8
    count = int(_SECONDS * _RATE_PER_S)
    asked = rng.choice(rng.permutation(names), count, p=weights / weights.sum())
    frame = pd.DataFrame({"time_s": np.sort(rng.uniform(0, _SECONDS, count)).round(3), "model": asked})
    trace = Trace.from_frame(frame, "real models")
    inventory = {name: profiled[name] for name in names}
    record_run(Case(trace, tight(inventory), inventory, profile=found.frame()), out, "cpu-emulated")
    return verify(out)


def figures_of(verified: Verification, found: Measurements) -> dict[str, Any]:
    """What the run came to."""
    kept = (
        "requests",
        "hits",
        "cold_starts",
        "waits",
        "fallbacks",
        "refused",
        "failed",
        "loads",
        "evictions",
    )
    kept += ("hit_rate", "latency_mean_s", "latency_p50_s", "latency_p95_s", "latency_p99_s")
    return {
        "machine": {key: value for key, value in found.machine.items() if key != "device"},
        "not_measured": found.failures(),
        "flags": {name: flags for name, flags in found.flags.items() if flags},
        "lockstep_decisions": verified.lockstep.decisions,
        "lockstep_differences": len(verified.lockstep.differences),
        "live": {key: verified.live[key] for key in kept},
        "simulated": {key: verified.simulated[key] for key in kept},
        "error": verified.errors(),
    }


if __name__ == "__main__":
    main()
