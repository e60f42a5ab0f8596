"""Out of memory although the ledger had room: who is to blame, and what is learned from it.

Either the model takes more than its footprint, or the device has less than the configuration says, because
another process took some. The device is read to tell which:

- A load failed while as much was available as the model's footprint: the footprint is too small. It grows by
  a quarter of itself, beyond what was available if that was more (it was not enough), but at most to the
  double.
- A run failed while nobody else had taken memory: the same, as the workspace found no room beside the model.
- Otherwise the device has less: the budget becomes what is there, and the next decision evicts for it. The
  monitor raises it again when it sees more.

A load is then tried once more (:meth:`.Engine.serve`); a run goes to the CPU, or is tried once more here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramlab.allocator.policies.own import PolicyError
from vramlab.config.units import bytes_to_mib
from vramlab.engine.effects import Cancelled, EffectFailed, Infer, ReadMemory, Story, Target
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Request

if TYPE_CHECKING:
    from vramlab.engine.serving import Engine

WHY = "out of memory"


def read_available(now_s: float) -> Story:
    """Ask the device what is available. The value is (now_s, bytes), or None for a device that is silent."""
    try:
        now_s, reading = yield ReadMemory()
    except EffectFailed as failure:
        return failure.now_s, None
    return now_s, reading.available_bytes


def run(
    engine: Engine,
    number: int,
    request: Request,
    outcome: Outcome,
    failure: EffectFailed,
) -> Story:
    """A run found no room for its workspace: make room for the next one; run on the CPU, or once more.

    The model is pinned. The value is the answer.
    """
    name = request.model
    now_s, available = yield from read_available(failure.now_s)
    needed = _learn_from_run(engine, number, name, now_s, available)
    try:
        victims = engine.loading.relieve(needed, now_s)
    except PolicyError:
        engine.withdraw(name, now_s)
        raise
    for victim in victims:
        engine.note(now_s, number, "unload", victim, engine.allocator.models[victim].bytes, WHY)
        now_s = yield from engine.loading.unload(victim, now_s, WHY)
    if engine.allocator.models[name].may_run_on_cpu:
        engine.withdraw(name, now_s)
        return (yield from engine.fallback.run(number, request, now_s, str(failure)))
    try:
        now_s, outputs, failed = yield from _run_again(engine, request, now_s)
    except Cancelled as cancelled:
        engine.withdraw(name, cancelled.now_s)
        raise
    engine.withdraw(name, now_s)
    if failed is not None:
        return engine.answer(number, now_s, Outcome.FAILED, None, str(failed))
    if engine.cache is not None:
        engine.cache.put(request, outputs, now_s)
    return engine.answer(number, now_s, outcome, outputs, str(failure))


def _run_again(engine: Engine, request: Request, now_s: float) -> Story:
    """Run on the GPU, as :meth:`.Engine.serve` does. The value is (now_s, outputs, failure)."""
    if engine.gpu.free:
        engine.gpu.free -= 1
    else:
        now_s, _ = yield engine.wait_gpu
    outputs, failed = None, None
    try:
        now_s, outputs = yield Infer(request.model, Target.GPU, request.items)
    except EffectFailed as failure:
        now_s, failed = failure.now_s, failure
    finally:
        engine.gpu.release()
    return now_s, outputs, failed


def learn_from_load(
    engine: Engine, task: int | str, name: str, now_s: float, held: int, available: int | None
) -> None:
    """The load of `name`, which is absent again, found no room while others held `held` bytes."""
    size = engine.allocator.models[name].bytes
    if available is None or available >= size:
        _grow(engine, task, name, now_s, min(max(available or 0, size) + size // 4, 2 * size))
    if available is not None:
        _keep_budget(engine, task, now_s, held + available)


def _learn_from_run(engine: Engine, task: int | str, name: str, now_s: float, available: int | None) -> int:
    """A run of `name`, which is there, found no room. Returns how many more bytes should be available."""
    size = engine.allocator.models[name].bytes
    lacking = False
    if available is not None:
        lacking = _keep_budget(engine, task, now_s, engine.allocator.device.held + available)
    if not lacking:
        _grow(engine, task, name, now_s, min(size + max(available or 0, size // 4), 2 * size))
    return max(1, size // 4)


def _grow(engine: Engine, task: int | str, name: str, now_s: float, footprint_bytes: int) -> None:
    model = engine.allocator.models[name]
    before = model.bytes
    if engine.allocator.grow(name, footprint_bytes):
        engine.note(now_s, task, "grow", name, footprint_bytes, f"{WHY}, had {bytes_to_mib(before):.1f} MB")


def _keep_budget(engine: Engine, task: int | str, now_s: float, there: int) -> bool:
    """Lower the budget to what is there. Returns whether that was necessary."""
    device, config = engine.allocator.device, engine.config
    buffer_bytes = config.overhead_bytes - config.overhead.taken_bytes
    budget = max(0, there - buffer_bytes)
    if budget >= device.cap:
        return False
    engine.note(now_s, task, "budget", None, budget, f"{WHY}, had {bytes_to_mib(device.cap):.1f} MB")
    engine.loading.set_budget(budget, now_s)
    return True
