"""The monitor beside real runtimes on stand-ins."""

import asyncio
import threading
import time

import numpy as np
import pytest

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.experiments.following import Following
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.inputs import make_inputs
from vramlab.live.runtime import LiveRuntime
from vramlab.live.stand_ins import with_stand_ins
from vramlab.widgets import LiveMonitor


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    spec = ModelSpec(priority="medium", vram_size_mb=2, load_time_ms=10)
    return with_stand_ins({"a": spec, "b": spec, "<c>": spec}, tmp_path_factory.mktemp("stand-ins"))


@pytest.fixture
def card():
    zone = "zones={flexible: {size_mb: 4, max_models: null, min_retention_time: 0}}"
    overhead = "overhead={cuda_context_mb: 0, framework_mb: 0, buffer_mb: 0}"
    return load_config(
        None, ["total_memory_mb=4", overhead, zone, "scoring.policy=lru", "optimization.monitor=false"]
    )


def inputs(models, name):
    return make_inputs(models[name].path, 1, np.random.default_rng(0))


def test_it_follows_a_runtime_from_before_it_opens_until_it_closes(card, models):
    runtime = BlockingRuntime(card, models, "cpu-emulated")
    monitor = LiveMonitor(runtime, every_s=0.02)
    until(lambda: monitor.notice.is_error)
    assert "not open" in monitor.notice.value
    runtime.open()
    until(lambda: monitor.status is not None and not monitor.notice.is_error)
    for name in ("a", "b", "a", "<c>"):
        runtime.infer(name, inputs(models, name))
    until(lambda: sum(monitor.status.outcomes.values()) == 4)
    assert monitor.status.outcomes["cold_start"] == 3
    until(lambda: "resident" in monitor.models.value)
    assert "&lt;c&gt;" in monitor.models.value
    assert "<c>" not in monitor.models.value
    assert "4 / 4 MB" in monitor.memory.value
    assert "hit rate 25.0 %" in monitor.rates.value
    runtime.close()
    until(lambda: not monitor.watching)
    assert "the runtime has closed" in monitor.heading.value
    assert not monitor.notice.is_error
    monitor.close()


def test_stop_start_and_close(card, models):
    with BlockingRuntime(card, models, "cpu-emulated") as runtime:
        monitor = LiveMonitor(runtime, every_s=0.02)
        until(lambda: monitor.status is not None)
        monitor.button.click()
        assert not monitor.watching
        assert monitor.button.description == "Start"
        seen = monitor.status
        time.sleep(0.1)
        assert monitor.status is seen
        monitor.button.click()
        until(lambda: monitor.status is not seen)
        monitor.close()
        assert not monitor.watching
    assert not any(thread.name == "vramlab-monitor" for thread in threading.enumerate())


def test_an_error_stands_in_the_widget_and_passes(card, models, monkeypatch):
    with BlockingRuntime(card, models, "cpu-emulated") as runtime:
        status = runtime.runtime.status
        monitor = LiveMonitor(runtime, every_s=0.02)
        until(lambda: monitor.status is not None)

        def lost():
            raise OSError("the driver has gone")

        monkeypatch.setattr(runtime.runtime, "status", lost)
        until(lambda: "the driver has gone" in monitor.notice.value)
        monkeypatch.setattr(runtime.runtime, "status", status)
        until(lambda: not monitor.notice.is_error)
        monitor.close()


def test_beside_an_event_loop(card, models):
    """The loop is not held up while the monitor looks."""

    async def main():
        async with LiveRuntime(card, models, "cpu-emulated") as runtime:
            monitor = LiveMonitor(runtime, every_s=0.01)
            for _ in range(20):
                await runtime.infer("a", inputs(models, "a"))
                await asyncio.sleep(0.01)
            assert monitor.watching
            return monitor

    monitor = asyncio.run(main())
    until(lambda: not monitor.watching)
    assert monitor.status.outcomes["hit"] >= 1
    monitor.close()


def test_a_run_in_another_process_is_watched_by_its_journal(card, models, tmp_path):
    journal = tmp_path / "journal.jsonl"
    with BlockingRuntime(card, models, "cpu-emulated", journal) as runtime:
        monitor = LiveMonitor(Following(journal, card, models), every_s=0.02)
        for name in ("a", "b", "a"):
            runtime.infer(name, inputs(models, name))
        until(lambda: monitor.status is not None and sum(monitor.status.outcomes.values()) == 3)
        assert monitor.watching
    until(lambda: not monitor.watching)
    assert "has closed" in monitor.heading.value
    assert "resident" in monitor.models.value
