"""A load that takes too long fails at its time limit, as it does live, with and without a fault plan."""

import pandas as pd
import pytest

from tests.engine.hand import settings, spec
from vramlab.engine.journal import Journal
from vramlab.engine.outcomes import Outcome
from vramlab.runs.lockstep import lockstep
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.replaying import simulate
from vramlab.simulation.service_times import SpecTimes
from vramlab.traces.trace import Trace

MODELS = {
    "slow": spec(10, load_time_ms=900, inference_ms=10, cpu_fallback="none"),
    "quick": spec(10, load_time_ms=400, inference_ms=10),
}


def run(requests, config, times=None):
    trace = Trace.from_frame(pd.DataFrame(requests, columns=["time_s", "model"]))
    journal = Journal()
    records = simulate(trace, config, MODELS, times, journal)
    report = lockstep(list(journal), config, MODELS)
    assert not report.differences, str(report.differences[0])
    return records


@pytest.fixture(params=["constant", "shared"])
def times(request):
    """The same times from both drivers, where nothing slows anything down."""

    def make(config):
        constant = SpecTimes(config, MODELS)
        return constant if request.param == "constant" else SharedMachine(constant)

    return make


def test_a_load_fails_at_its_limit(times):
    config = settings(100, "serving.load_timeout_ms=500", "optimization.monitor=false")
    records = run([(1.0, "slow"), (2.0, "quick")], config, times(config))
    assert records.outcomes.tolist() == [Outcome.FAILED, Outcome.COLD_START]
    assert records.finish_s.tolist() == pytest.approx([1.5, 2.41])
    failed, loaded = records.loads
    assert (failed.model, failed.end_s) == ("slow", pytest.approx(1.5))
    assert failed.error == "timed out: took longer than 0.5 s"
    assert loaded.error == ""


def test_a_load_within_its_limit_is_left_alone(times):
    config = settings(100, "serving.load_timeout_ms=900", "optimization.monitor=false")
    records = run([(1.0, "slow"), (3.0, "slow")], config, times(config))
    assert records.outcomes.tolist() == [Outcome.COLD_START, Outcome.HIT]


def test_who_joined_the_load_fails_with_it_and_the_channel_is_free_again(times):
    config = settings(100, "serving.load_timeout_ms=500", "optimization.monitor=false")
    records = run([(1.0, "slow"), (1.2, "slow"), (1.3, "quick")], config, times(config))
    assert records.outcomes.tolist() == [Outcome.FAILED, Outcome.FAILED, Outcome.COLD_START]
    assert records.finish_s.tolist() == pytest.approx([1.5, 1.5, 1.91])


def test_on_a_shared_machine_the_limit_is_of_time_that_passes_not_of_work():
    config = settings(
        100, "serving.load_timeout_ms=500", "serving.load_channels=2", "optimization.monitor=false"
    )
    models_at_once = SharedMachine(SpecTimes(config, MODELS), one_link=True)
    records = run([(1.0, "quick"), (1.0, "slow")], config, models_at_once)
    # half the speed each until 1.5 s, when both have taken too long
    assert records.outcomes.tolist() == [Outcome.FALLBACK, Outcome.FAILED]
    assert [load.end_s for load in records.loads] == pytest.approx([1.5, 1.5])
