"""The first minutes on a GPU: what its memory, failures and times are really like, in 13 minutes at most.

``python results/gpu/first_minutes.py --device cuda --out build/first_minutes``: each step in a process of its
own with its own time limit, as one may hang or lose the device. After each there is a JSON file; a step that
failed has the reason there, and the next one goes on. ``--device cpu-arena`` rehearses it without a GPU: then
memory is that of onnxruntime's arenas on the CPU, and times are the CPU's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd

import vramlab
from vramlab.config.schema import ModelSpec, Priority
from vramlab.config.units import MIB
from vramlab.experiments.case import Case
from vramlab.experiments.recording import record_run
from vramlab.experiments.verification import verify
from vramlab.live.cores import usable_cores
from vramlab.live.device_facts import Demand, Device
from vramlab.live.devices import choose_device, describe
from vramlab.live.errors import translation
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.profiler import profile
from vramlab.live.stand_ins import build_stand_ins, with_stand_ins
from vramlab.traces.trace import Trace

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "config" / "model_config.yaml"
ALL_S = 13 * 60
BUDGET = 3 << 30
SIX = 6
PAUSES_S = (0.03, 1.0, 5.0, 20.0)


# -- what steps use ------------------------------------------------------------------------------------------


def spec(size_mb: float, **more: Any) -> ModelSpec:
    """An entry of an inventory."""
    return ModelSpec(priority="medium", vram_size_mb=size_mb, load_time_ms=1, **more)


def a_model(size_mb: float = 44) -> Path:
    """A stand-in: convolutions over images of 128 x 128."""
    folder = Path(tempfile.mkdtemp())
    return build_stand_ins({"model.onnx": spec(size_mb)}, folder)["model.onnx"]


def images(items: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a stand-in of no known model."""
    rng = np.random.default_rng(seed)
    return {"input": rng.standard_normal((items, 3, 128, 128), dtype=np.float32)}


def used(device: Device) -> int:
    """This process's memory there, where it is told; else all that is used."""
    memory = device.memory()
    return memory.used_bytes if memory.process_bytes is None else memory.process_bytes


@contextmanager
def raw(
    path: Path, device: Device, limit: int | None = None, pattern: bool = False, **provider: str
) -> Iterator[Any]:
    """A session of onnxruntime's own, without threads of ours; `provider` are further options of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = pattern
    with device.placing(Demand(MIB, 0, limit), "a step") as place:
        for key, value in place.entries.items():
            options.add_session_config_entry(key, value)
        wanted = [(one[0], one[1] | provider) if isinstance(one, tuple) else one for one in place.providers]
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    try:
        yield session
    finally:
        del session
        place.leave()


def tried(work: Callable[[], object], device: Device) -> dict[str, Any]:
    """Do it: the class, the text and the kind of what it raises."""
    try:
        work()
        return {"failed": False}
    except Exception as error:  # which one is what the step wants to know
        meant = translation(error, "", total_bytes=device.memory().total_bytes)
        return {
            "failed": True,
            "class": type(error).__name__,
            "text": " ".join(str(error).split())[-300:],
            "kind": meant.kind,
            "lacking_bytes": meant.lacking_bytes,
        }


def timed(work: Callable[[], object], times: int = 1) -> list[float]:
    """Seconds of each time."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return found


def shrinking(device: Device) -> Any:
    """Options of a run that shrinks the arena."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", device.arena)
    return options


# -- the steps, in the order of GPU.md -----------------------------------------------------------------------


def check(device: Device) -> dict[str, Any]:
    """Is it there, does the driver know us, and what does a reading cost?"""
    memory = device.memory()
    return {
        "environment": describe(device),
        "process_bytes": memory.process_bytes,
        "others_bytes": memory.others_bytes,
        "reading_s": float(np.median(timed(device.memory, 50))),
        "state": device.state(),
    }


def threads(device: Device) -> dict[str, Any]:
    """Does memory grow with the number of threads that run a session (issue 29351)?"""
    found: dict[str, Any] = {}
    path = a_model()
    unified = {"use_ep_level_unified_stream": "1"} if not device.emulated else {}
    for name, options in (("as it is", {}), ("unified stream", unified)):
        with raw(path, device, **options) as session:
            x = images(4)
            readings = {"loaded": used(device)}
            for _ in range(20):
                session.run(None, x)
            readings["20 runs on one thread"] = used(device)
            for _ in range(20):
                one = threading.Thread(target=session.run, args=(None, x))
                one.start()
                one.join()
            readings["20 runs on 20 threads"] = used(device)
        found[name] = readings
        if device.emulated:
            break
    return found


def footprints(device: Device) -> dict[str, Any]:
    """Patterns on and off, in both orders; then ascending batches under the limit that was measured."""
    path, found = a_model(), {}
    orders = {"ascending": (1, 2, 4, 8, 16), "largest first": (16, 8, 4, 2, 1)}
    for pattern in (True, False):
        for name, order in orders.items():
            before = used(device)
            with raw(path, device, pattern=pattern) as session:
                loaded = used(device) - before
                for items in order:
                    session.run(None, images(items))
                    session.run(None, images(items))
                found[f"{name}, patterns {'on' if pattern else 'off'}"] = {
                    "loaded": loaded,
                    "held": used(device) - before,
                }
    limit = found["largest first, patterns off"]["held"]
    for name, order in orders.items():
        with raw(path, device, limit=limit) as session:
            outcomes = [tried(lambda n=items: session.run(None, images(n)), device) for items in order]
            again = [
                tried(lambda n=items: session.run(None, images(n), shrinking(device)), device)["failed"]
                for items in (16, 16)
            ]
        found[f"{name}, under {limit} bytes"] = {
            "failed": [n for n, one in zip(order, outcomes, strict=True) if one["failed"]],
            "kinds": sorted({one["kind"] for one in outcomes if one["failed"]}),
            "16 again, shrinking: failed": again,
        }
    return found


def failures(device: Device) -> dict[str, Any]:
    """Class and text of each kind of out of memory, and whether the session is right afterwards."""
    path, found = a_model(), {}
    with raw(path, device) as whole:
        expected = {items: whole.run(None, images(items))[0] for items in (1, 4)}
        held = used(device)
    for name, limit in (("own limit", held), ("device full", None)):
        with raw(path, device, limit=limit) as session:
            small = tried(lambda: session.run(None, images(1)), device)
            items = 16
            while items <= 1 << 14:  # on a CPU without a limit this would take all memory there is
                result = tried(lambda n=items: session.run(None, images(n)), device)
                if result["failed"] or (limit is None and device.emulated):
                    break
                items *= 4
            after = {}
            for count in (4, 1):
                session_says = tried(lambda n=count: session.run(None, images(n)), device)
                if not session_says["failed"]:
                    answer = session.run(None, images(count))[0]
                    session_says["largest_difference"] = float(np.abs(answer - expected[count]).max())
                after[count] = session_says
            found[name] = {"before": small, "items": items, "failure": result, "after": after}
    probe = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (int64[1] n) => (float[m] y) { y = ConstantOfShape(n) }'
    )
    absurd = Path(tempfile.mkdtemp()) / "absurd.onnx"
    absurd.write_bytes(probe.SerializeToString())
    with raw(absurd, device) as session:
        found["nonsense size"] = tried(lambda: session.run(None, {"n": np.array([2**60])}), device)
    return found


def arenas(device: Device) -> dict[str, Any]:
    """Nine stand-ins: own arenas beside a shared one, and what is free after each deletion."""
    inventory = with_stand_ins(vramlab.load_inventory(INVENTORY))
    found = {}
    for shared in (None, 256 * MIB):
        one = choose_device(device.label, budget_bytes=BUDGET, shared_bytes=shared)
        before, sessions = used(one), []
        for item in inventory.values():
            sessions.append(make_session(str(item.path), item, one))
        for session in sessions:
            session.run(make_inputs(session, 16, np.random.default_rng(0)))
        held = [used(one) - before]
        while sessions:
            sessions.pop().close()
            held.append(used(one) - before)
        found["own" if shared is None else "shared"] = {"held": held[0], "after each deletion": held[1:]}
    found["shared over own"] = found["shared"]["held"] / max(1, found["own"]["held"])
    return found


def batches(device: Device) -> dict[str, Any]:
    """Alternating batches against a constant one, and filled up to one size (issue 23006)."""
    with raw(a_model(), device) as session:
        one, eight = images(1), images(8)
        for x in (eight, one):
            timed(lambda x=x: session.run(None, x), 3)
        constant = timed(lambda: session.run(None, eight), 20)
        single = timed(lambda: session.run(None, one), 20)
        alternating = [timed(lambda x=x: session.run(None, x))[0] for _ in range(10) for x in (one, eight)]
    return {
        "constant_8_s": float(np.median(constant)),
        "constant_1_s": float(np.median(single)),
        "alternating_8_s": float(np.median(alternating[1::2])),
        "alternating_1_s": float(np.median(alternating[::2])),
        "filled_up_over_1": float(np.median(constant) / np.median(single)),
    }


def pauses(device: Device) -> dict[str, Any]:
    """How long a run takes after silence, with power state and clocks right before it."""
    found: dict[str, Any] = {}
    with raw(a_model(), device) as session:
        x = images(1)
        timed(lambda: session.run(None, x), 10)
        for pause_s in PAUSES_S:
            rows = []
            for _ in range(2 if pause_s > 1 else 5):
                time.sleep(pause_s)
                state = device.state()
                rows.append({"seconds": timed(lambda: session.run(None, x))[0], **state})
            found[str(pause_s)] = rows
    return found


def loads(device: Device) -> dict[str, Any]:
    """Loading inline weights, external data, and a model that was saved optimised."""
    path = a_model(89)
    folder = path.parent
    model = onnx.load(str(path))
    external = folder / "external.onnx"
    onnx.save(model, str(external), save_as_external_data=True, location="weights.bin")
    optimised = folder / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(optimised)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = {}
    for name, file in (("inline", path), ("external", external), ("optimised", optimised)):
        seconds = []
        for _ in range(3):
            begin = time.perf_counter()
            with raw(file, device) as session:
                session.run(None, images(1))
                seconds.append(time.perf_counter() - begin)
        found[name] = seconds
    return found


def two_at_once(device: Device) -> dict[str, Any]:
    """Two runs of one session at once: what they take, and whether they are right (issue 32342)."""
    with raw(a_model(), device) as session:
        x = images(8)
        expected = session.run(None, x)[0]
        alone = used(device)
        differences: list[float] = []

        def run() -> None:
            for _ in range(10):
                differences.append(float(np.abs(session.run(None, x)[0] - expected).max()))

        pair = [threading.Thread(target=run) for _ in range(2)]
        for one in pair:
            one.start()
        for one in pair:
            one.join()
        return {"one": alone, "two": used(device), "differences": max(differences), "runs": len(differences)}


def precision(device: Device) -> dict[str, Any]:
    """How far answers are from the CPU's, with TF32 and without, and which nodes run on the CPU."""
    path, x = a_model(), images(4)
    with make_session(path, spec(44), None) as plain:
        expected = plain.run(x)[0]
    found: dict[str, Any] = {}
    for tf32 in (False, True):
        one = choose_device(device.label, budget_bytes=BUDGET, tf32=tf32)
        with make_session(path, spec(44), one) as session:
            difference = float(np.abs(session.run(x)[0] - expected).max())
            found[f"tf32 {'on' if tf32 else 'off'}"] = difference
            found["nodes on the CPU"] = session.cpu_nodes
    return found


def profile_record_verify(device: Device) -> dict[str, Any]:
    """The whole way, on six stand-ins: footprints and times, a recorded run, and the engine held to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = vramlab.load_inventory(INVENTORY)
        smallest = sorted(models, key=lambda one: models[one].vram_size_mb)[:SIX]
        # all alike, as critical ones never leave: models have to leave and come back here
        alike = {"priority": Priority.MEDIUM, "always_loaded": False}
        inventory = with_stand_ins({one: models[one].model_copy(update=alike) for one in smallest}, folder)
        profiled, found = profile(
            vramlab.load_config(), inventory, device.label, loads=2, runs=3, limit_s=1.0
        )
        size_mb = 0.6 * sum(one.footprint_bytes for one in profiled.values()) / MIB
        size_mb = max(size_mb, *(one.footprint_bytes / MIB for one in profiled.values())) + 1
        config = vramlab.load_config(
            None,
            [
                f"total_memory_mb={size_mb + 800}",
                f"zones={{flexible: {{size_mb: {size_mb}, max_models: null, min_retention_time: 0}}}}",
                "admission=always",
            ],
        )
        rng = np.random.default_rng(0)
        times_s = np.sort(rng.uniform(0, 20, 300)).round(3)
        asked = pd.DataFrame({"time_s": times_s, "model": rng.choice(smallest, 300)})
        trace = Trace.from_frame(asked, "first minutes")
        record_run(Case(trace, config, profiled, profile=found.frame()), folder / "run", device.label)
        verified = verify(folder / "run")
        return {
            "footprints_mb": {one: [s.vram_size_mb, s.workspace_mb] for one, s in profiled.items()},
            "flags": {one: flags for one, flags in found.flags.items() if flags},
            "not_measured": found.failures(),
            "decisions": verified.lockstep.decisions,
            "differences": [str(one) for one in verified.lockstep.differences],
            "live": {key: verified.live[key] for key in ("hits", "cold_starts", "evictions", "failed")},
            "errors": verified.errors(),
        }


STEPS: dict[str, tuple[Callable[[Device], dict[str, Any]], int]] = {
    "check": (check, 60),
    "threads": (threads, 60),
    "footprints": (footprints, 60),
    "failures": (failures, 60),
    "arenas": (arenas, 90),
    "batches": (batches, 45),
    "pauses": (pauses, 90),
    "loads": (loads, 60),
    "two_at_once": (two_at_once, 30),
    "precision": (precision, 45),
    "profile_record_verify": (profile_record_verify, 180),
}
"""Steps and their time limits in seconds: 13 minutes together."""


def main() -> int:
    """Do all steps, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu-arena for a rehearsal")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "first_minutes")
    parser.add_argument("--step", choices=list(STEPS), help="this one only, in this process")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    if wanted.step:
        found = STEPS[wanted.step][0](choose_device(wanted.device, budget_bytes=BUDGET))
        _write(wanted.out / f"{wanted.step}.json", {"step": wanted.step, "device": wanted.device, **found})
        return 0
    until_s, failed = time.monotonic() + ALL_S, []
    for name, (_, limit_s) in STEPS.items():
        begin_s = time.monotonic()
        why = _in_a_process(name, wanted, min(limit_s, until_s - begin_s))
        took_s = time.monotonic() - begin_s
        print(f"{name}: {why or 'done'} ({took_s:.0f} s of {limit_s})", flush=True)
        if why:
            failed.append(name)
            _write(wanted.out / f"{name}.json", {"step": name, "device": wanted.device, "failed": why})
    print(f"{len(STEPS) - len(failed)} of {len(STEPS)} steps on {wanted.device}: {wanted.out}")
    return bool(failed)


def _in_a_process(name: str, wanted: argparse.Namespace, limit_s: float) -> str:
    """Do a step; why it failed, or an empty text."""
    if limit_s <= 1:
        return "no time was left"
    command = [sys.executable, __file__, "--step", name, "--device", wanted.device, "--out", str(wanted.out)]
    try:
        done = subprocess.run(command, timeout=limit_s, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        return f"took longer than {limit_s:.0f} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or [""]
    return f"exit status {done.returncode}: {said[-1][-300:]}"


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found | {"cores": len(usable_cores())}, indent=1, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
