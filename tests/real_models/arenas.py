"""What one shared arena saves, and 5,000 requests under measured limits, in onnxruntime's arenas on the CPU.

``python -m tests.real_models.arenas`` remakes ``results/gpu/arenas_cpu.csv`` and ``served_cpu.json``: some
minutes. Arena and limits are those of the GPU wheel; the sizes are the CPU's and say nothing of a GPU.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd

import vramlab
from tests.real_models.catalogue import CATALOGUE, RealModel
from tests.real_models.serving import inputs_file
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.config.units import MIB, bytes_to_mib, mib_to_bytes
from vramlab.engine.effects import Target
from vramlab.engine.outcomes import Outcome
from vramlab.live.cpu_arena import CpuArenaDevice
from vramlab.live.footprints import footprint, measure_often
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal
from vramlab.runs.lockstep import lockstep
from vramlab.runs.run_folder import write_json

ROOT = Path(__file__).parents[2]
OUT, CONFIG = ROOT / "results" / "gpu", ROOT / "config" / "model_config.yaml"
TEN = (
    "faces_large", "file_types", "morphemes", "noise", "notes",
    "safe_pictures", "speech", "text_turned", "upright", "wake_embedding",
)  # fmt: skip
# Of these, what the catalogue's true inputs hold may be repeated: each row has its own answer.
BATCHED = {"faces_large", "text_turned", "upright", "wake_embedding"}
BATCH, REAL_BATCH = 16, 4
REQUESTS = 5_000
_SEED = 7
_SHARE = 0.6


def stand_ins(folder: Path, batch: int = BATCH, largest_mb: float = 1e9) -> Inventory:
    """The nine of the specification, each with batches up to `batch`."""
    inventory = vramlab.load_inventory(CONFIG)
    small = {name: spec for name, spec in inventory.items() if spec.vram_size_mb <= largest_mb}
    return {
        name: spec.model_copy(update={"batch_size": batch, "splits": True, "cpu_fallback": "none"})
        for name, spec in with_stand_ins(small, folder).items()
    }


def real_models(folder: Path) -> Inventory:
    """Ten of the catalogue's, with true inputs; those whose rows are their own in batches up to four."""
    by_name = {model.name: model for model in CATALOGUE}
    return {name: _spec(by_name[name], folder) for name in TEN}


def _spec(model: RealModel, folder: Path) -> ModelSpec:
    batched = model.name in BATCHED
    return ModelSpec(
        priority="medium",
        vram_size_mb=bytes_to_mib(model.path.stat().st_size),
        load_time_ms=1,
        path=str(model.path),
        inputs=inputs_file(model, folder),
        batch_size=REAL_BATCH if batched else 1,
        splits=batched,
        cpu_fallback="none",
    )


def measured(inventory: Inventory) -> Inventory:
    """With weights and workspace as the arena says, the largest batch first."""
    device = CpuArenaDevice(8192 * MIB)
    known = {}
    for name, spec in inventory.items():
        true = footprint(measure_often(name, spec, device, Target.GPU))
        sizes = {
            "vram_size_mb": max(spec.vram_size_mb, bytes_to_mib(true.resident_bytes)),
            "workspace_mb": bytes_to_mib(true.workspace_bytes),
        }
        known[name] = spec.model_copy(update=sizes)
    return known


def held(inventory: Inventory, shared: bool) -> int:
    """Bytes that the arenas hold when all models are loaded and each has run its largest batch."""
    largest = max(mib_to_bytes(spec.workspace_mb) for spec in inventory.values())
    device = CpuArenaDevice(8192 * MIB, shared_bytes=largest if shared else None)
    rng = np.random.default_rng(0)
    sessions = [make_session(str(spec.path), spec, device) for spec in inventory.values()]
    # the largest workspace first, as its regions serve all others
    pairs = sorted(zip(inventory.values(), sessions, strict=True), key=lambda pair: -pair[0].workspace_mb)
    for spec, session in pairs:
        session.run(make_inputs(session, spec.batch_size, rng, None, spec))
    try:
        return device.memory().used_bytes
    finally:
        for session in sessions:
            session.close()


def held_as_before(inventory: Inventory) -> int:
    """Bytes held as it was before: own arenas, memory patterns, and batches that ascend, each twice."""
    device = CpuArenaDevice(8192 * MIB)
    rng = np.random.default_rng(0)
    sessions = []
    try:
        for spec in inventory.values():
            options = spec.session_options.model_copy(update={"enable_mem_pattern": True})
            endless = spec.model_copy(update={"session_options": options, "workspace_mb": 0})
            session = make_session(str(spec.path), endless, device)
            sessions.append(session)
            for power in range(spec.batch_size.bit_length()):
                inputs = make_inputs(session, 2**power, rng, None, spec)
                session.run(inputs)
                session.run(inputs)
        return device.memory().used_bytes
    finally:
        for session in sessions:
            session.close()


def compared(title: str, inventory: Inventory) -> dict[str, Any]:
    """Own arenas beside a shared one: what is held, and what admission charges."""
    own, shared, before = held(inventory, False), held(inventory, True), held_as_before(inventory)
    weights = sum(mib_to_bytes(spec.vram_size_mb) for spec in inventory.values())
    workspaces = [mib_to_bytes(spec.workspace_mb) for spec in inventory.values()]
    charged, together = weights + sum(workspaces), weights + max(workspaces)
    return {
        "models": title,
        "backend": "cpu-arena",
        "weights_mb": bytes_to_mib(weights),
        "workspaces_mb": bytes_to_mib(sum(workspaces)),
        "largest_workspace_mb": bytes_to_mib(max(workspaces)),
        "held_before_mb": bytes_to_mib(before),
        "held_own_mb": bytes_to_mib(own),
        "held_shared_mb": bytes_to_mib(shared),
        "held_shared_over_own": shared / own,
        "held_shared_over_before": shared / before,
        "charged_own_mb": bytes_to_mib(charged),
        "charged_shared_mb": bytes_to_mib(together),
        "held_shared_over_charged_own": shared / charged,
        "charged_shared_over_own": together / charged,
    }


# -- 5,000 requests ------------------------------------------------------------------------------------------


def tight(inventory: Inventory, workspace: str = "own", share: float = _SHARE) -> VramConfig:
    """One zone for so large a part of what all models take."""
    config = vramlab.load_config(None, [f"workspace={workspace}"])
    shared = bytes_to_mib(config.shared_bytes(inventory) or 0)
    sizes = [bytes_to_mib(spec.footprint_bytes) for spec in config.held(inventory).values()]
    size_mb = max(share * sum(sizes), max(sizes)) + 1
    return vramlab.load_config(
        None,
        [
            f"total_memory_mb={size_mb + shared}",
            "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}",
            f"zones={{flexible: {{size_mb: {size_mb}, max_models: null, min_retention_time: 0}}}}",
            "caching.enable_result_caching=false",
            "optimization.monitor=false",
            f"workspace={workspace}",
        ],
    )


async def served(
    inventory: Inventory, workspace: str = "own", requests: int = REQUESTS, journal: Path | None = None
) -> dict[str, Any]:
    """Ask for models and batches in every order, one after the other, and look at the ledger each time."""
    rng = np.random.default_rng(_SEED)
    names = list(inventory)
    # large models are asked for rarely, or their loads would be all that happens
    shares = np.array([spec.footprint_bytes**-0.5 for spec in inventory.values()])
    shares /= shares.sum()
    outcomes: Counter[str] = Counter()
    understated, failures, made = 0.0, [], {}
    async with vramlab.LiveRuntime(tight(inventory, workspace), inventory, "cpu-arena", journal) as runtime:
        device, allocator = runtime.backend.device, runtime.engine.allocator
        for _ in range(requests):
            name = names[int(rng.choice(len(names), p=shares))]
            spec = inventory[name]
            items = int(rng.integers(1, spec.batch_size + 1))
            key = name, items
            if key not in made:
                made[key] = make_inputs(str(spec.path), items, np.random.default_rng(items), None, spec)
            answer = await runtime.submit(name, made[key])
            outcomes[answer.outcome.name.lower()] += 1
            if answer.outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.FALLBACK):
                failures.append((name, items, answer.why))
            ledger = allocator.device.held + allocator.shared_bytes
            understated = max(understated, device.memory().used_bytes / max(ledger, 1) - 1)
        records = runtime.records()
    lines = [] if journal is None else read_journal(journal)
    followed = lockstep(lines, runtime.config, runtime.inventory)
    actions = Counter(str(line.what) for line in lines if line.event == "action")
    return {
        "workspace": workspace,
        "requests": requests,
        "outcomes": dict(outcomes),
        "failures": failures,
        "shrunk": actions["shrink"],
        "reloaded_larger": sum(load.reason == "larger limit" for load in records.loads),
        "grown": actions["grow"],
        "loads": len(records.loads),
        "evictions": len(records.evictions),
        "ledger_understates_at_most": understated,
        "lockstep_differences": len(followed.differences),
    }


def main(requests: int = REQUESTS) -> None:
    """Remake the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stand_ins").mkdir()
        nine = measured(stand_ins(folder / "stand_ins"))
        ten = measured(real_models(folder))
        both = {**nine, **ten}
        table = pd.DataFrame(
            [
                compared(f"nine stand-ins, batch {BATCH}", nine),
                compared("ten real models", ten),
                compared("all nineteen", both),
            ]
        )
        table.to_csv(OUT / "arenas_cpu.csv", index=False, float_format="%.4g")
        print(table.T.to_string())
        machine = {"backend": "cpu-arena", "onnxruntime": onnxruntime.__version__}
        found: dict[str, Any] = {"machine": machine, "served": []}
        for workspace in ("own", "shared"):
            journal = folder / f"{workspace}.jsonl"
            found["served"].append(asyncio.run(served(both, workspace, requests, journal)))
            write_json(found, OUT / "served_cpu.json")
            print(found["served"][-1], flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
