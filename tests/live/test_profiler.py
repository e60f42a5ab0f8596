"""What the profiler measures, and what it says of it."""

import pytest
from onnx import parser

from vramlab.config.loading import load_config
from vramlab.config.schema import ModelSpec
from vramlab.config.units import MIB
from vramlab.engine.effects import Target
from vramlab.live.footprints import Footprint, Stage, footprint, memory_flags
from vramlab.live.heap import private_bytes
from vramlab.live.hops import PAUSES_S
from vramlab.live.measurements import Measurements, measured, median_ms
from vramlab.live.profiler import profile
from vramlab.live.stand_ins import with_stand_ins
from vramlab.runs.samples import Sample


def stages(**readings_mb):
    """Readings in MB by step; steps that are not given read 100."""
    steps = ["load peak", "loaded", "run 2", "run 3", "run 4", "run peak", "steady"]
    readings = dict.fromkeys(steps, 100.0) | {"unloaded": 0.0}
    readings |= {step.replace("_", " "): mb for step, mb in readings_mb.items()}
    return [Stage("m", "gpu", step, int(mb * MIB), None) for step, mb in readings.items()]


def test_footprint_is_what_stays_and_what_runs_need_on_top():
    found = footprint(stages(loaded=130, run_peak=647, steady=640))
    assert found == Footprint(130 * MIB, 517 * MIB)


def test_nothing_to_say_of_a_plain_model():
    assert memory_flags(stages(), 100 * MIB) == []


@pytest.mark.parametrize(
    ("readings_mb", "flag"),
    [
        ({"load_peak": 180}, "loading takes 80 MB more than running"),
        ({"run_peak": 400}, "a run needs 300 MB on top, for a file of 100 MB"),
        ({"unloaded": 90}, "unloading leaves 90 MB behind"),
        ({"run_2": 100, "run_3": 110, "run_4": 120, "run_peak": 120}, "each run takes 10 MB more"),
    ],
)
def test_flags(readings_mb, flag):
    assert memory_flags(stages(**readings_mb), 100 * MIB) == [flag]


def test_a_model_that_holds_far_more_than_its_file_is_flagged():
    assert memory_flags(stages(), 20 * MIB) == ["holds 100 MB, 5.0 times the size of its file"]


def test_an_inventory_from_samples_and_memory():
    spec = ModelSpec(priority="high", vram_size_mb=5, load_time_ms=1, performance_multiplier=2.0)
    samples = [
        *(Sample("m", "gpu", "load", 1, s) for s in (0.1, 0.2, 0.9)),
        *(Sample("m", "gpu", "warm-up", 1, s) for s in (0.04, 0.05, 0.06)),
        *(Sample("m", "gpu", "infer", 1, s, 0.0) for s in (0.001, 0.001)),
        *(Sample("m", "gpu", "infer", 1, s, 0.03) for s in (0.004, 0.006)),
        Sample("m", "gpu", "infer", 8, 0.02, 0.03),
        Sample("m", "gpu", "infer", 1, 0.5, 0.03, "load on gpu"),
        Sample("another", "gpu", "load", 1, 7.0),
    ]
    found = Measurements(samples, stages(loaded=130, run_peak=647))
    real = measured(spec, "m", found, stand_in=False)
    assert (real.load_time_ms, real.warm_up_ms, real.inference_s) == (150.0, 50.0, pytest.approx(0.005))
    assert real.load_s == pytest.approx(0.2)  # as it is served: with the first run
    assert (real.vram_size_mb, real.workspace_mb) == (130.0, 517.0)
    assert real.cpu_load_time_ms is None  # not measured
    emulated = measured(spec, "m", found, stand_in=True)
    assert (emulated.vram_size_mb, emulated.workspace_mb) == (5.0, 0.0)


def test_median_of_larger_batches_is_per_item():
    samples = [Sample("m", "cpu", "infer", 4, 0.02), Sample("m", "cpu", "infer", 8, 0.03)]
    assert median_ms(samples, Target.CPU, "infer") == 5.0
    assert median_ms(samples, Target.GPU, "infer") is None


def test_models_of_a_zone_of_ones_own_are_profiled(tmp_path):
    spec = ModelSpec(priority="critical", vram_size_mb=1.3, load_time_ms=1, workspace_mb=1, zone="hot")
    names = ["a.onnx", "b.onnx"]
    inventory = with_stand_ins(dict.fromkeys(names, spec), tmp_path)
    config = load_config(None, ["zones={hot: {size_mb: 100, reserved_models: [a.onnx, b.onnx]}}"])
    _, found = profile(config, inventory, "cpu-emulated", loads=1, runs=1)
    assert not found.failed
    assert {"load", "infer", "unload"} <= set(found.frame().what)


def test_profile_of_stand_ins_on_the_emulated_device(tmp_path):
    spec = ModelSpec(priority="medium", vram_size_mb=1.3, load_time_ms=1, workspace_mb=2, batch_size=3)
    names = ["genderage.onnx", "AntiSpoofing_a.onnx"]
    inventory = with_stand_ins(dict.fromkeys(names, spec), tmp_path)
    steps = []
    profiled, found = profile(load_config(), inventory, "cpu-emulated", loads=2, runs=2, done=steps.append)
    assert steps == [*names, ""]
    assert list(profiled) == names
    for name in names:
        assert profiled[name].vram_size_mb == 1.3  # a stand-in keeps the size that it stands for
        assert profiled[name].workspace_mb == 2
        assert profiled[name].inference_ms > 0
    frame = found.frame()
    alone = frame[(frame.beside == "") & (frame.what == "infer") & (frame.model == names[1])]
    assert sorted(alone["items"].unique()) == [1, 2, 3]
    assert sorted(alone[alone["items"] == 1].pause_s.unique()) == list(PAUSES_S)
    assert set(frame.what) == {"cold load", "load", "warm-up", "first infer", "unload", "infer"}
    assert set(frame.beside) == {""}
    assert set(frame[frame.what == "infer"].model) == set(names)
    assert frame.attrs["cpu_count"] >= 1
    assert all(profiled[name].splits for name in names)  # shown: stand-ins are plain convolutions
    memory = found.memory().set_index(["model", "target", "stage"]).device_bytes
    if private_bytes() is not None:
        loaded, steady, unloaded = (
            memory[names[1], "gpu", step] for step in ("loaded", "steady", "unloaded")
        )
        assert MIB < loaded < 3 * MIB  # of a file of 1.3 MB
        assert loaded <= steady
        assert unloaded < loaded / 2


def test_what_was_measured_of_a_model_before_it_failed_is_forgotten():
    found = Measurements([Sample("m", "gpu", "load", 1, 0.1), Sample("m", "cpu", "load", 1, 0.2)], stages())
    found.fail("m", Target.GPU, ValueError("no\nroom"))
    assert [sample.target for sample in found.samples] == ["cpu"]
    assert found.stages == []
    assert found.failures() == ["m: on the gpu: no room"]
    found.fail("m", Target.CPU, ValueError("no room"))
    assert found.failures() == ["m: no room"]


def test_a_model_that_does_not_fit_is_said_and_keeps_its_values(tmp_path):
    spec = ModelSpec(priority="medium", vram_size_mb=1.3, load_time_ms=77)
    large = spec.model_copy(update={"vram_size_mb": 12.0})
    inventory = with_stand_ins({"genderage.onnx": spec, "emotion.onnx": large}, tmp_path)
    config = load_config(None, ["total_memory_mb=810", "zones={flexible: {size_mb: 10}}"])
    profiled, found = profile(config, inventory, "cpu-emulated", loads=1, runs=1)
    assert profiled["emotion.onnx"].load_time_ms == 77
    assert list(found.failed) == ["emotion.onnx"]
    assert "Failed to allocate" in found.failed["emotion.onnx"][Target.GPU]
    (line,) = found.failures()
    assert line.startswith("emotion.onnx: on the gpu: ")
    assert profiled["emotion.onnx"].cpu_load_time_ms is not None
    assert profiled["genderage.onnx"].load_time_ms != 77


def test_a_declaration_that_is_no_longer_true_does_not_stop_a_profile(tmp_path):
    graph = "g (float[T,2] x) => (float[T,2] y) { axis = Constant<value=int64 {0}>() y = CumSum(x, axis) }"
    text = f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}'
    (tmp_path / "sum.onnx").write_bytes(parser.parse_model(text).SerializeToString())
    spec = ModelSpec(
        priority="medium", vram_size_mb=1, load_time_ms=1, path=str(tmp_path / "sum.onnx"), batch_size=2,
        splits=True,
    )  # fmt: skip
    profiled, found = profile(load_config(), {"sum": spec}, "cpu-emulated", loads=1, runs=1)
    assert found.failed == {}
    assert not profiled["sum"].splits
    assert any(flag.startswith("requests are not split: ") for flag in found.flags["sum"])
