"""64 callers, 12 models, a budget for three of them: no deadlock, no starvation, nothing twice.

Two seconds for each order of the line here; ``VRAMLAB_STRESS_S=60`` for the long version.
"""

import asyncio
import gc
import os
import weakref

import numpy as np
import pytest

from tests.live.audit import Audit
from tests.live.test_runtime import held_to, settings, spec
from vramlab.config.units import ms_to_s
from vramlab.engine.journal import Line
from vramlab.engine.outcomes import Outcome
from vramlab.live.inputs import make_inputs
from vramlab.live.runtime import LiveRuntime, RequestFailed
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.journal_reading import read_journal

CALLERS, SECONDS = 64, float(os.environ.get("VRAMLAB_STRESS_S", "2"))
PRIORITIES = ("high", "medium", "medium", "low")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """Models of 1 to 3 MB; every third may not run on the CPU."""
    inventory = {
        f"m{number}": spec(
            1 + number % 3,
            priority=PRIORITIES[number % 4],
            cpu_fallback="none" if number % 3 == 0 else "cpu_standard",
        )
        for number in range(12)
    }
    return with_stand_ins(inventory, tmp_path_factory.mktemp("stand-ins"))


@pytest.mark.parametrize("queue", ["fifo", "affinity"])
def test_callers_that_compete(twelve, tmp_path, queue):
    config = settings(6, "serving.gpu_streams=2", "serving.release_timeout_ms=5000", f"serving.queue={queue}")
    path = tmp_path / "journal.jsonl"
    rng = np.random.default_rng(0)
    inputs = {name: make_inputs(spec.path, 1, rng) for name, spec in twelve.items()}
    popularity = 1 / np.arange(1, 13)
    popularity /= popularity.sum()
    runtime = LiveRuntime(config, twelve, "cpu-emulated", path)

    async def caller(number, until_s):
        """Ask for this and that; now and then be impatient, or send nonsense."""
        rng = np.random.default_rng(number)
        served = 0
        while runtime.driver.clock() < until_s:
            name = f"m{rng.choice(12, p=popularity)}"
            mood = rng.random()
            if mood < 0.03:
                with pytest.raises(RequestFailed):
                    await runtime.infer(name, {"nonsense": np.zeros(1)})
            elif mood < 0.06:
                with_limit = asyncio.wait_for(runtime.submit(name, inputs[name]), 0.005)
                await asyncio.gather(with_limit, return_exceptions=True)
            else:
                answer = await runtime.submit(name, inputs[name])
                assert answer.outcome not in (Outcome.FAILED, Outcome.CANCELLED)
            served += 1
        return served

    async def main():
        async with runtime:
            return await asyncio.gather(*(caller(number, SECONDS) for number in range(CALLERS)))

    served = asyncio.run(asyncio.wait_for(main(), 60 + 2 * SECONDS))
    assert min(served) > 0
    lines = read_journal(path)
    audit = Audit(lines, CALLERS, ms_to_s(config.serving.release_timeout_ms))
    print(f"\n{queue}: {audit.summary()}; each caller served {min(served)} to {max(served)} times")
    assert audit.outcomes["COLD_START"] > 10
    held_to(runtime, path)


def test_the_audit_finds_what_must_not_be():
    arrival = Line(0.0, "arrival", 0, "a")
    load = Line(0.0, "start", 0, "a", "load on gpu")
    with pytest.raises(AssertionError, match="loading"):
        Audit([arrival, load, load], 1, 1.0)
    with pytest.raises(AssertionError, match="never answered"):
        Audit([arrival], 1, 1.0)
    there = [arrival, load, Line(0.1, "end", 0, "a", "load on gpu", duration_s=0.1)]
    runs = Line(0.1, "start", 0, "a", "infer on gpu")
    with pytest.raises(AssertionError, match="which runs"):
        Audit([*there, runs, Line(0.2, "start", 1, "a", "unload")], 1, 1.0)


def test_an_answer_is_not_kept_by_the_timer_of_its_load(twelve):
    """Its outputs hold the arena of the session that made them: minutes of them filled the memory."""
    inputs = make_inputs(twelve["m0"].path, 1, np.random.default_rng(0))

    async def main():
        async with LiveRuntime(settings(6), twelve, "cpu-emulated") as runtime:
            answer = await runtime.submit("m0", inputs)
            assert answer.outcome is Outcome.COLD_START
            kept = weakref.ref(answer.outputs[0])
            del answer
            await asyncio.sleep(0.05)  # the loop and the worker let go of it
            gc.collect()
            return kept()

    assert asyncio.run(main()) is None
