"""Kept answers with real sessions: whose they are, how much they take, and of which file they are."""

import asyncio
import shutil
import threading

import numpy as np

from tests.live.test_runtime import Run, inputs, models, settings, spec  # noqa: F401 (fixtures)
from vramlab.engine.cache import Kept
from vramlab.engine.outcomes import Outcome
from vramlab.engine.requests import Answer
from vramlab.live.answers import owned, owned_soon, to_keep
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.stand_ins import with_stand_ins


def test_an_answer_belongs_to_its_caller(tmp_path, models, inputs):  # noqa: F811
    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            first = await runtime.infer("a", inputs["a"], input_key="k")
            good = first[0].copy()
            first[0][:] = 7  # by whom the model answered
            for _ in range(2):
                again = await runtime.submit("a", inputs["a"], input_key="k")
                assert again.outcome is Outcome.CACHE_HIT
                assert again.outputs[0].flags.owndata
                np.testing.assert_array_equal(again.outputs[0], good)
                again.outputs[0][:] = 8  # and by whom the cache did

    asyncio.run(main())
    with BlockingRuntime(settings(3), models, "cpu-emulated") as runtime:
        good = runtime.infer("a", inputs["a"], input_key="k")[0].copy()
        runtime.infer("a", inputs["a"], input_key="k")[0][:] = 9
        np.testing.assert_array_equal(runtime.infer("a", inputs["a"], input_key="k")[0], good)


def test_answers_of_a_file_that_was_replaced_are_not_given(tmp_path):
    other = with_stand_ins({"other": spec(2.5)}, tmp_path / "other")["other"]
    first = with_stand_ins({"a": spec(2.5), "b": spec(2)}, tmp_path / "first")
    rng = np.random.default_rng(0)
    given = {"input": rng.standard_normal((1, 3, 128, 128), dtype=np.float32)}

    async def main():
        async with Run(tmp_path, settings(3), first) as runtime:
            old = await runtime.infer("a", given, input_key="k")
            await runtime.unload("a")
            await runtime.infer("b", given, input_key="k")
            await runtime.load("a")
            assert (await runtime.submit("a", given, input_key="k")).outcome is Outcome.CACHE_HIT
            await runtime.unload("a")
            shutil.copy(other.path, first["a"].path)
            await runtime.load("a")
            new = await runtime.submit("a", given, input_key="k")
            assert new.outcome is Outcome.HIT
            assert not np.allclose(new.outputs[0], old[0])
            assert (await runtime.submit("b", given, input_key="k")).outcome is Outcome.CACHE_HIT

    asyncio.run(main())  # and `Run` holds it to lock-step


def test_large_answers_push_others_out_also_in_lock_step(tmp_path, models, inputs):  # noqa: F811
    config = settings(3, "caching.result_cache_mb=0.00003")  # 32 bytes

    async def main():
        async with Run(tmp_path, config, models) as runtime:
            size = sum(output.nbytes for output in await runtime.infer("a", inputs["a"], input_key="k"))
            cache = runtime.engine.cache
            assert cache.limit_bytes == 32
            for key in ("k", "l", "m", "k", "m"):
                answer = await runtime.submit("a", inputs["a"], input_key=key)
                assert answer.outputs[0].sum() != 0
            assert cache.held_bytes <= 32
            assert len(cache) == 32 // size < 3

    asyncio.run(main())


def test_copies_are_made_outside_the_lock(tmp_path, models, inputs, monkeypatch):  # noqa: F811
    held = []

    async def main():
        async with Run(tmp_path, settings(3), models) as runtime:
            lock = runtime.driver.lock
            monkeypatch.setattr(
                "vramlab.live.answers._copied", lambda outputs: held.append(lock._is_owned()) or outputs
            )
            await runtime.infer("a", inputs["a"], input_key="k")
            await runtime.infer("a", inputs["a"], input_key="k")

    asyncio.run(main())
    assert held == [False] * 3


def test_what_is_too_large_to_be_kept_is_not_copied():
    outputs = [np.zeros(1000), ["text", {"a": np.zeros(3)}], np.array(["abc", "d"], dtype=object)]
    kept = to_keep(outputs, 10)
    assert kept.outputs is outputs
    assert kept.size_bytes == 8000 + 4 + 24 + 1 + 16 + 4
    assert owned(_answer(kept), 10).outputs is outputs
    copied = to_keep(outputs, 10_000)
    assert copied.outputs[0] is not outputs[0]
    assert copied.outputs[1][1]["a"] is not outputs[1][1]["a"]
    assert owned(_answer(copied), 10_000).outputs[0] is not copied.outputs[0]
    assert owned(_answer([1]), 10).outputs == [1]


def _answer(outputs):
    return Answer(Outcome.HIT, outputs)


def test_a_large_answer_is_copied_by_another_thread_than_the_event_loops(monkeypatch):
    threads = []
    monkeypatch.setattr(
        "vramlab.live.answers._copied", lambda outputs: threads.append(threading.get_ident()) or outputs
    )

    async def main():
        await owned_soon(_answer(Kept([1], 10)), 10**9)
        await owned_soon(_answer(Kept([1], 10**8)), 10**9)

    asyncio.run(main())
    assert [thread == threading.get_ident() for thread in threads] == [True, False]
