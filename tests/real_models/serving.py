"""Serve all real models with too little memory, and say what came of it: answers, evictions, private memory.

``python -m tests.real_models.serving`` in a process of its own, so that its memory is that of the models.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import vramlab
from tests.real_models.catalogue import RealModel, installed
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.config.units import MIB, bytes_to_mib
from vramlab.engine.effects import Target
from vramlab.live.backend import with_file_sizes
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.footprints import footprint, measure_memory
from vramlab.live.heap import private_bytes, set_heap, trim_heap
from vramlab.live.values import equal_answers

_LARGE = {"stress"}  # 1.5 GB, and seconds a load
_SHARE = 0.25  # of all models that fit
_CALLERS = 6


def models() -> list[RealModel]:
    """All that are installed, but for the largest."""
    return [model for model in installed() if model.name not in _LARGE]


def inputs_file(model: RealModel, folder: Path) -> str | None:
    """True inputs as an inventory names them; None where a file of arrays cannot hold them."""
    arrays = model.inputs(np.random.default_rng(0))
    if not all(isinstance(value, np.ndarray) and value.dtype != object for value in arrays.values()):
        return None
    path = folder / f"{model.name}.npz"
    np.savez(path, **arrays)
    return str(path)


def true_inventory(folder: Path) -> dict[str, ModelSpec]:
    """Every model with its inputs and its measured footprint."""
    device = CpuEmulatedDevice(8192 * MIB)
    inventory = {}
    for model in models():
        spec = ModelSpec(
            priority="medium",
            vram_size_mb=1,
            load_time_ms=1,
            path=str(model.path),
            inputs=inputs_file(model, folder),
            cpu_fallback="none",
        )
        if spec.inputs is not None:
            true = footprint(measure_memory(model.name, spec, device, Target.GPU))
            sizes = {
                "vram_size_mb": max(0.001, bytes_to_mib(true.resident_bytes)),
                "workspace_mb": bytes_to_mib(true.workspace_bytes),
            }
            spec = spec.model_copy(update=sizes)
        inventory[model.name] = spec
    return with_file_sizes(inventory)


def tight(inventory: dict[str, ModelSpec]) -> VramConfig:
    """One zone in which a quarter of all models fits."""
    largest = max(spec.footprint_bytes for spec in inventory.values())
    total = sum(spec.footprint_bytes for spec in inventory.values())
    size_mb = round(bytes_to_mib(max(int(_SHARE * total), largest)) + 1)
    return vramlab.load_config(
        None,
        [
            f"total_memory_mb={size_mb}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={{flexible: {{size_mb: {size_mb}, max_models: null, min_retention_time: 0}}}}",
            "caching.enable_result_caching=false",
        ],
    )


def plain_answers(some: list[RealModel]) -> dict[str, Any]:
    """What onnxruntime answers, with the same options."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    answers = {}
    for model in some:
        session = onnxruntime.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        made = session.run(None, model.inputs(np.random.default_rng(0)))
        answers[model.name] = [one.copy() if isinstance(one, np.ndarray) else one for one in made]
    return answers


async def serve(requests: int, folder: Path) -> dict[str, Any]:
    """Ask for models in random order from several callers, and hold every answer against onnxruntime's."""
    onnxruntime.set_default_logger_severity(4)
    set_heap("returned")
    bare_mb = _private_mb()
    some = models()
    expected = plain_answers(some)
    feeds = {model.name: model.inputs(np.random.default_rng(0)) for model in some}
    inventory = true_inventory(folder)
    trim_heap()
    of_this_script_mb = _private_mb() - bare_mb  # inputs, and answers to compare with
    rng = np.random.default_rng(1)
    order = iter([str(name) for name in rng.choice(list(inventory), requests)])
    different: list[str] = []
    excess_mb, used_mb = [], []
    async with vramlab.LiveRuntime(tight(inventory), inventory, "cpu-emulated") as runtime:

        async def caller() -> None:
            for name in order:
                answer = await runtime.infer(name, feeds[name])
                if not equal_answers(answer, expected[name]):
                    different.append(name)
                del answer
                ledger = runtime.backend.memory().used_bytes
                used_mb.append(_private_mb() - of_this_script_mb)
                excess_mb.append(used_mb[-1] - 1.15 * bytes_to_mib(ledger))

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        records = runtime.records()
    return {
        "models": len(some),
        "requests": requests,
        "different": sorted(set(different)),
        "evictions": len(records.evictions),
        "private_mb_at_most": round(max(used_mb), 1),
        "private_mb_beyond_1_15_ledgers": round(max(excess_mb), 1),
    }


def _private_mb() -> float:
    return bytes_to_mib(private_bytes() or 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        json.dump(asyncio.run(serve(int(sys.argv[1]), Path(temporary))), sys.stdout)
