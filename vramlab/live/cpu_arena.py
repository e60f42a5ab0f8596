"""A device on the CPU whose sessions really run out of memory: in onnxruntime's own arenas, with limits.

The CPU provider of the GPU wheel has the arena and the execution frame that CUDA's has. A session that is
made while an arena is registered with the environment keeps that arena for life, also when another one is
registered afterwards. So each session gets one of its own with its own limit, or all share one of the
device's size; what they raise is what onnxruntime raises.

Python has no call that tells what an arena holds. But an arena that is asked for an absurd size says how much
it has left: ``Available memory of N is smaller than requested``. A tiny session beside each asks that: the
reading is exact, to the 256 bytes of a chunk. Where the arena's limit is below what was reserved for weights
it has none, and the answer is another one: that is how a limit is checked.

Sizes are of this arena and say nothing of a GPU's. A device that is full in the sense of ``cudaMalloc`` is
the ledger's doing, as in :mod:`vramlab.live.emulated`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from vramlab.config.errors import InputError
from vramlab.config.units import bytes_to_mib
from vramlab.live.device_facts import Demand, DeviceMemory, Place
from vramlab.live.device_threads import DeviceThreads
from vramlab.live.errors import OwnLimit
from vramlab.live.graphs import IR_VERSION, OPSET
from vramlab.live.heap import trim_heap
from vramlab.live.places import ChargedPlace, Ledger, SharedWorkspace

_LEFT = re.compile(r"Available memory of (\d+) is smaller")
_CHUNK_BYTES = 256  # what an arena rounds to
_registering = threading.RLock()  # the environment's arena is the whole process's


class LimitedArena:
    """An arena that may take `limit_bytes`; made, it is the environment's until another one is made."""

    registered: LimitedArena | None = None

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes // _CHUNK_BYTES * _CHUNK_BYTES
        where = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        settings = {"max_mem": self.limit_bytes, "arena_extend_strategy": 1, "initial_chunk_size_bytes": 1}
        with _registering:
            onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(settings))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            options.add_session_config_entry("session.use_env_allocators", "1")
            self._probe = onnxruntime.InferenceSession(
                _probe_model(), options, providers=["CPUExecutionProvider"]
            )
            LimitedArena.registered = self
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def held_bytes(self) -> int | None:
        """What it holds, regions for later use included; None where its limit is none any more."""
        try:
            self._probe.run(None, {"length": np.array([1 << 60], np.int64)})
        except Exception as error:  # onnxruntime's have no base of their own
            found = _LEFT.search(str(error))
            return None if found is None else self.limit_bytes - int(found[1])
        raise RuntimeError("an arena that gave 2**60 bytes")

    def shrink(self) -> None:
        """Give regions that nothing lies in back to the system."""
        self._probe.run(None, {"length": np.array([0], np.int64)}, self._shrinking)


class ArenaPlace:
    """The place of a session in an arena: charged as elsewhere, and measured."""

    def __init__(self, device: CpuArenaDevice, arena: LimitedArena, charges: ChargedPlace) -> None:
        self._device, self._charges = device, charges
        self.arena = arena
        self.before_bytes = arena.held_bytes() or 0  # what others hold in it
        self.providers, self.entries = charges.providers, charges.entries
        self.begin_run = charges.begin_run

    def held_bytes(self) -> int | None:
        """What its arena holds; in a shared one what was added since the load began."""
        held = self.arena.held_bytes()
        return None if held is None else held - self.before_bytes

    def end_run(self, shrink: bool) -> None:
        """Keep the charge or take it back; of what all share, no more stays than is promised."""
        self._charges.end_run(shrink)
        self._device.tidy(self.arena)

    def leave(self) -> None:
        """Take the charges back; of a shared arena the others keep the regions."""
        self._charges.leave()
        self._device.forget(self)


class CpuArenaDevice:
    """A device of `budget_bytes` whose sessions have arenas with limits, on the CPU.

    Parameters
    ----------
    budget_bytes : int
        What all models together may take.
    overhead_bytes : int
        What counts as used before the first model, on top of the budget.
    shared_bytes : int, optional
        What all sessions have as their one workspace together, in one arena of the whole budget; by default
        each has its own arena.
    streams : int
        Threads that sessions are shared out to.
    """

    label = "cpu-arena"
    arena = "cpu:0"
    emulated = True
    keeps_ledger = False
    distrusts = False
    has_arenas = True

    def __init__(
        self, budget_bytes: int, overhead_bytes: int = 0, shared_bytes: int | None = None, streams: int = 1
    ) -> None:
        if budget_bytes <= 0:
            raise InputError("device", "budget", f"{budget_bytes} bytes", "more than 0")
        self.budget_bytes = budget_bytes
        self.overhead_bytes = overhead_bytes
        self.threads: DeviceThreads | None = DeviceThreads(self.label, streams)
        self._places: list[ArenaPlace] = []
        self._lock = threading.Lock()
        self._ledger = Ledger(budget_bytes, self.label, self.held_bytes)
        self._shared = None if shared_bytes is None else SharedWorkspace(self._ledger, shared_bytes)
        self._one: LimitedArena | None = None
        self.lose = self._ledger.lose

    def memory(self) -> DeviceMemory:
        """What the arenas hold and others have taken."""
        held, lost = self.held_bytes(), self._ledger.lost_bytes
        used = self.overhead_bytes + held + lost
        total = self.budget_bytes + self.overhead_bytes
        return DeviceMemory(total, used, max(0, total - used), held, lost)

    def held_bytes(self) -> int:
        """What all arenas hold; of one without a limit, what its session was charged."""
        with self._lock:
            arenas = {place.arena for place in self._places}
            if self._one is not None:
                arenas.add(self._one)
        return sum(arena.held_bytes() or 0 for arena in arenas)

    @contextmanager
    def placing(self, demand: Demand, doing: str) -> Iterator[Place]:
        """Charge the weights, and register the arena that the session will have.

        Raises
        ------
        OutOfMemory
            If the device has no room.
        OwnLimit
            If the weights are not below the limit: the arena has none then, and that is how it would be full
            at the first run.
        """
        self._make_room(demand.weights_bytes)
        entries = {"session.use_env_allocators": "1"}
        charges = ChargedPlace(self._ledger, demand, self._shared, ["CPUExecutionProvider"], entries)
        with charges.entered(doing):
            with _registering:
                place = ArenaPlace(self, self._arena_for(demand), charges)
                yield place
            _check_limit(place.arena, demand, doing)
        with self._lock:
            self._places.append(place)

    def _make_room(self, weights_bytes: int) -> None:
        """Give activations that lie in the way of weights back, where all lie in one arena.

        Regions of one model's runs need not fit another's, so together they may be more than the largest
        workspace. Weights are reserved whatever the limit is, and past it there would be none.
        """
        if self._one is None:
            return
        held = self._one.held_bytes()
        if held is not None and held + weights_bytes > self.budget_bytes - self._ledger.lost_bytes:
            self._one.shrink()

    def _arena_for(self, demand: Demand) -> LimitedArena:
        if self._shared is None:
            limit = self.budget_bytes if demand.limit_bytes is None else demand.limit_bytes
            return LimitedArena(limit)
        # Another device of this process may have registered one meanwhile: what is there stays where it is.
        if self._one is None or LimitedArena.registered is not self._one:
            self._one = LimitedArena(self.budget_bytes)
        return self._one

    def tidy(self, arena: LimitedArena) -> None:
        """Shrink the shared arena if regions that do not fit other runs have filled it beyond its share."""
        if self._shared is not None and (arena.held_bytes() or 0) > self._ledger.promised_bytes:
            arena.shrink()

    def forget(self, place: ArenaPlace) -> None:
        """A session is gone."""
        with self._lock:
            self._places.remove(place)
            last = not self._places
        if self._shared is None or last:
            place.arena.shrink()  # the environment keeps the arena that was made last

    def promised_bytes(self) -> int:
        """Weights and workspaces of all sessions."""
        return self._ledger.promised_bytes

    def taken_bytes(self) -> int | None:
        """What the arenas hold."""
        return self.held_bytes()

    def trim(self) -> None:
        """Shrink the arenas, and hand freed memory back."""
        with self._lock:
            arenas = {place.arena for place in self._places}
        for arena in arenas:
            arena.shrink()
        trim_heap()

    def state(self) -> dict[str, int]:
        """Nothing that changes its speed is known."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Label, budget, and whose arenas are."""
        return {
            "device": self.label,
            "budget_bytes": self.budget_bytes,
            "overhead_bytes": self.overhead_bytes,
            "workspace": "own" if self._shared is None else "shared",
        }


def _check_limit(arena: LimitedArena, demand: Demand, doing: str) -> None:
    """Refuse an arena whose limit is below the weights: what was reserved beyond it makes it endless."""
    if arena.held_bytes() is not None:
        return
    short = OwnLimit(
        f"{doing}: its weights take more than the {bytes_to_mib(arena.limit_bytes):.1f} MB of its limit, "
        "and its arena has no limit any more"
    )
    short.lacking_bytes = max(demand.workspace_bytes, arena.limit_bytes // 4, _CHUNK_BYTES)
    raise short


@cache
def _probe_model() -> bytes:
    """A model that asks its arena for so many bytes."""
    node = helper.make_node(
        "ConstantOfShape", ["length"], ["y"], value=helper.make_tensor("zero", TensorProto.UINT8, [1], [0])
    )
    length = helper.make_tensor_value_info("length", TensorProto.INT64, [1])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, ["n"])
    graph = helper.make_graph([node], "probe", [length], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
