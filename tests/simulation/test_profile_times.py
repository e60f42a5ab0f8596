"""Times from a profile: medians, seeded draws, and what lies between measured points."""

import numpy as np
import pytest

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec, VramConfig
from vramlab.engine.effects import Infer, Load, Target
from vramlab.runs.samples import Sample, read_samples, samples_frame, write_samples
from vramlab.simulation.choosing import choose_times
from vramlab.simulation.link import Link, fit_link
from vramlab.simulation.machine import SharedMachine
from vramlab.simulation.profile_times import ProfileTimes
from vramlab.simulation.service_times import SpecTimes

GPU, CPU = Target.GPU, Target.CPU
INVENTORY = {
    "m": ModelSpec(priority="medium", vram_size_mb=10, load_time_ms=500, inference_ms=70),
    "other": ModelSpec(priority="medium", vram_size_mb=30, load_time_ms=500, inference_ms=70),
}


def samples():
    return [
        *(Sample("m", "gpu", "load", 1, s) for s in (0.3, 0.1, 0.2)),
        *(Sample("m", "gpu", "unload", 1, s) for s in (0.01, 0.03)),
        Sample("m", "gpu", "cold load", 1, 9.0),
        *(Sample("m", "gpu", "infer", 1, s, 0.0) for s in (2.0, 2.0, 2.0)),
        *(Sample("m", "gpu", "infer", 1, s, 0.02) for s in (4.0, 3.0, 5.0)),
        *(Sample("m", "gpu", "infer", 4, s, 0.02) for s in (10.0, 10.0)),
        *(Sample("m", "gpu", "infer", 1, s, 0.02, "load on gpu") for s in (50.0, 50.0)),
    ]


def times(rng=None):
    return ProfileTimes(samples_frame(samples(), {}), VramConfig(), INVENTORY, rng)


def test_medians_alone_and_after_the_longest_pause():
    assert times().load_s("m", GPU) == 0.2
    assert times().unload_s("m") == 0.02
    assert times().infer_s("m", GPU, 1) == 4.0


def test_what_was_not_measured_is_as_the_inventory_says():
    spec = SpecTimes(VramConfig(), INVENTORY)
    assert times().load_s("other", GPU) == spec.load_s("other", GPU) == 0.5
    assert times().infer_s("m", CPU, 2) == spec.infer_s("m", CPU, 2)
    assert times().unload_s("other") == spec.unload_s("other")


def test_batches_are_interpolated_and_larger_ones_run_in_chunks():
    assert times().infer_s("m", GPU, 2) == pytest.approx(4.0 + (10.0 - 4.0) / 3)
    assert times().infer_s("m", GPU, 4) == 10.0
    assert times().infer_s("m", GPU, 9) == pytest.approx(10.0 + 10.0 + 4.0)


def test_pauses_are_interpolated_and_the_first_run_is_a_cold_one():
    assert times().run_s("m", GPU, 1, 0.0) == 2.0
    assert times().run_s("m", GPU, 1, 0.005) == pytest.approx(2.5)
    assert times().run_s("m", GPU, 1, 1.0) == 4.0
    assert times().run_s("m", GPU, 1, None) == 4.0
    assert times().run_s("m", GPU, 4, 0.0) == pytest.approx(10.0 - 2.0)


def test_profiles_of_earlier_versions_have_kinds_that_say_nothing_here():
    more = [Sample("m", "gpu", "bare infer", 1, 9.0), Sample("m", "gpu", "serving by a worker", 1, 9.0)]
    known = ProfileTimes(samples_frame([*samples(), *more], {}), VramConfig(), INVENTORY)
    assert known.run_s("m", GPU, 1, 0.005) == times().run_s("m", GPU, 1, 0.005)


def test_draws_are_seeded_and_take_each_sample_equally_often():
    def drawn(seed):
        chosen = times(np.random.default_rng(seed))
        return [chosen.load_s("m", GPU) for _ in range(3000)]

    assert drawn(1) == drawn(1) != drawn(2)
    values, counts = np.unique(drawn(1), return_counts=True)
    assert values.tolist() == [0.1, 0.2, 0.3]
    # binomial, n = 3000, p = 1/3: standard deviation 26
    assert np.abs(counts - 1000).max() < 4 * 26


def test_a_machine_knows_how_long_a_model_paused():
    machine = SharedMachine(times())
    run = Infer("m", GPU, 1)
    assert machine.begin(run, 0.0) == 4.0  # the first
    machine.end(0, 4.0)
    assert machine.begin(run, 4.005) == pytest.approx(2.5)
    machine.end(0, 6.5)
    machine.begin(Load("m", GPU), 6.5)
    machine.end(0, 7.0)  # a fresh session has just had its first run
    assert machine.begin(run, 7.0) == 2.0


def test_the_first_session_on_the_cpu_is_a_cold_load_and_on_the_gpu_a_load_like_others():
    loads = [Sample("m", "cpu", "load", 1, 0.5), Sample("m", "cpu", "cold load", 1, 0.8)]
    frame = samples_frame([*samples(), *loads], {})
    machine = SharedMachine(ProfileTimes(frame, VramConfig(), INVENTORY))
    assert machine.begin(Load("m", CPU), 0.0) == 0.8
    machine.end(0, 0.8)
    assert machine.begin(Load("m", CPU), 5.0) == 0.5
    assert machine.begin(Load("m", GPU), 5.0) == 0.2


def test_link_from_loads_of_two_sizes():
    frame = samples_frame(
        [Sample("m", "gpu", "load", 1, 0.030), Sample("other", "gpu", "load", 1, 0.070)], {}
    )
    link = fit_link(frame, INVENTORY)  # 20 MB take 40 ms longer: 500 MB/s, and 10 ms before the first byte
    assert link.latency_s == pytest.approx(0.010)
    assert link.bytes_per_s == pytest.approx(500 * 2**20)
    assert Link(0.01, 1e9).load_s(500_000_000) == pytest.approx(0.51)
    with pytest.raises(InputError, match="two models of unlike size"):
        fit_link(samples_frame([Sample("m", "gpu", "load", 1, 0.03)], {}), INVENTORY)


def test_times_by_name():
    frame = samples_frame(samples(), {"cpu_count": 2})
    rng = np.random.default_rng(0)
    assert type(choose_times("spec", VramConfig(), INVENTORY)) is SpecTimes
    assert type(choose_times("median", VramConfig(), INVENTORY, frame, rng)) is ProfileTimes
    assert type(choose_times("contended", VramConfig(), INVENTORY, frame, rng)) is SharedMachine
    with pytest.raises(InputError, match="no profile"):
        choose_times("sampled", VramConfig(), INVENTORY)


@pytest.mark.parametrize(
    ("device_cores", "streams", "speed"),
    [(1, 1, 0.5), (1, 2, 1.0), (2, 1, 0.5), (1, 4, 1.0), (0, 2, 1.0)],
)
def test_the_device_has_as_many_cores_as_streams_whatever_it_had_in_the_profile(device_cores, streams, speed):
    """Of four: two runs have one each, or share the only one; with as many streams as cores all is shared."""
    frame = samples_frame(samples(), {"cpu_count": 4, "device_cores": device_cores})
    config = load_config(None, [f"serving.gpu_streams={streams}"])
    machine = choose_times("contended", config, INVENTORY, frame)
    machine.begin(Infer("m", GPU, 1), 0.0)
    machine.begin(Infer("m", GPU, 1), 0.0)
    assert machine.speeds() == [speed] * 2


def test_samples_survive_their_file_with_the_facts_of_their_machine(tmp_path):
    frame = samples_frame(samples(), {"cpu_count": 2, "device": "cpu-emulated"})
    write_samples(frame, tmp_path / "s.parquet")
    read = read_samples(tmp_path / "s.parquet")
    assert read.attrs == {"cpu_count": 2, "device": "cpu-emulated"}
    assert read.to_dict("list") == frame.to_dict("list")


def test_files_that_are_no_samples(tmp_path):
    with pytest.raises(InputError, match="vramlab profile"):
        read_samples(tmp_path / "absent.parquet")
    frame = samples_frame(samples(), {})
    frame.drop(columns="seconds").to_parquet(tmp_path / "lacks.parquet")
    with pytest.raises(InputError, match="seconds"):
        read_samples(tmp_path / "lacks.parquet")
    frame.assign(seconds=-1.0).to_parquet(tmp_path / "negative.parquet")
    with pytest.raises(InputError, match="below 0"):
        read_samples(tmp_path / "negative.parquet")
