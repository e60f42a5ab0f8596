"""Stand-in models: sizes, structure, the same bytes everywhere, and a cache that knows what it holds."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import ModelSpec, Priority
from vramlab.config.units import mib_to_bytes
from vramlab.engine.effects import Target
from vramlab.live.backend import OnnxBackend
from vramlab.live.errors import CorruptModel
from vramlab.live.inputs import make_inputs
from vramlab.live.model_files import check_model_file
from vramlab.live.onnx_sessions import make_session
from vramlab.live.stand_ins import (
    build_stand_ins,
    cache_folder,
    role_of,
    stand_in_size_bytes,
    with_stand_ins,
    without_stand_ins,
)

SPECIFICATION = Path(__file__).parents[2] / "config/model_config.yaml"
SMALL = {"yolo-small.onnx": 4.0, "arcface_small.onnx": 6.0, "genderage.onnx": 1.3}


def spec(size_mb, **more):
    return ModelSpec(priority=Priority.MEDIUM, vram_size_mb=size_mb, load_time_ms=10, **more)


def inventory(sizes):
    return {name: spec(size) for name, size in sizes.items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_stand_ins(inventory(SMALL), tmp_path_factory.mktemp("stand-ins"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_roles_of_the_specification():
    roles = {name: role_of(name) for name in load_inventory(SPECIFICATION)}
    assert roles == {
        "yolov10n-face.onnx": "detector",
        "yolov5s-face.onnx": "detector",
        "facenet_vggface2.onnx": "recogniser",
        "arcface_r100.onnx": "recogniser",
        "adaface_ir101.onnx": "recogniser",
        "AntiSpoofing_bin_1.5_128.onnx": "classifier",
        "AntiSpoofing_print-replay_1.5_128.onnx": "classifier",
        "model.onnx": "classifier",
        "genderage.onnx": "classifier",
    }
    assert role_of("deepfake-detection/model.onnx") == "classifier"


@pytest.mark.parametrize("name", ["yolov8.onnx", "arcface.onnx", "anything.onnx"])
@pytest.mark.parametrize("size_mb", [1.3, 1.9, 9, 28, 44, 89, 249, 700, 1024])
def test_a_file_is_never_larger_than_the_model_and_at_most_two_percent_smaller(name, size_mb):
    target = mib_to_bytes(size_mb)
    assert 0.98 * target <= stand_in_size_bytes(name, spec(size_mb)) <= target


def test_files_have_the_planned_size_and_pass_the_checker(built):
    for name, path in built.items():
        assert path.name == name
        assert path.stat().st_size == stand_in_size_bytes(name, spec(SMALL[name]))
        onnx.checker.check_model(str(path), full_check=True)


def test_the_bytes_are_the_same_on_every_machine(built, tmp_path):
    # A change of these is a change of GENERATOR_VERSION.
    again = build_stand_ins(inventory(SMALL), tmp_path)
    assert {name: sha256(path)[:16] for name, path in again.items()} == {
        name: sha256(path)[:16] for name, path in built.items()
    }
    assert sha256(built["genderage.onnx"])[:16] == "857ff2aa5a2b863b"


def test_weights_depend_on_name_and_seed(built, tmp_path):
    other_seed = build_stand_ins(inventory({"genderage.onnx": 1.3}), tmp_path / "seed", seed=1)
    other_name = build_stand_ins(inventory({"gender.onnx": 1.3}), tmp_path / "name")
    files = [built["genderage.onnx"], *other_seed.values(), *other_name.values()]
    assert len({sha256(path) for path in files}) == 3
    assert len({path.stat().st_size for path in files}) == 1


def test_the_batch_axis_is_dynamic_and_results_are_finite(built):
    rng = np.random.default_rng(0)
    shapes = {"yolo-small.onnx": (336, 6), "arcface_small.onnx": (512,), "genderage.onnx": (3,)}
    for name, path in built.items():
        with make_session(path, spec(SMALL[name], batch_size=8), None) as session:
            for items in (1, 3):
                (output,) = session.run(make_inputs(session, items, rng))
                assert output.shape == (items, *shapes[name])
                assert np.isfinite(output).all()
                assert output.std() > 0
                if name == "arcface_small.onnx":
                    np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, rtol=1e-5)


def test_outputs_depend_on_inputs(built):
    rng = np.random.default_rng(0)
    for name, path in built.items():
        with make_session(path, spec(SMALL[name], batch_size=2), None) as session:
            (output,) = session.run(make_inputs(session, 2, rng))
            assert not np.allclose(output[0], output[1])


def test_a_file_that_stands_is_kept_and_a_changed_or_damaged_one_rebuilt(tmp_path):
    def build(size_mb=1.3, seed=0):
        path = build_stand_ins({"a.onnx": spec(size_mb)}, tmp_path, seed)["a.onnx"]
        return path, path.stat().st_mtime_ns, path.stat().st_size

    path, first, size = build()
    assert build() == (path, first, size)
    assert build(size_mb=1.5)[2] > size
    _, third, _ = build()
    path.write_bytes(path.read_bytes()[:-100])
    rebuilt = build()
    assert rebuilt[1] > third
    assert rebuilt[2] == size
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]  # no temporary file is left


def test_an_unfinished_build_leaves_nothing(tmp_path):
    class Stopped(Exception):
        pass

    def stop(name, done, total):
        raise Stopped

    with pytest.raises(Stopped):
        build_stand_ins({"a.onnx": spec(1.3)}, tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_whole_file(tmp_path):
    calls = []
    (path,) = build_stand_ins(
        {"a.onnx": spec(1.3)}, tmp_path, progress=lambda *call: calls.append(call)
    ).values()
    assert calls[-1] == ("a.onnx", path.stat().st_size, path.stat().st_size)
    assert [call[1] for call in calls] == sorted(call[1] for call in calls)


def test_the_cache_keeps_files_of_different_specs_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path))
    small = build_stand_ins({"model.onnx": spec(1.3)})["model.onnx"]
    large = build_stand_ins({"model.onnx": spec(1.9)})["model.onnx"]
    assert small != large
    assert small.exists()
    assert small.is_relative_to(cache_folder())
    assert cache_folder() == tmp_path / "stand-ins"


def test_names_that_are_no_file_names(tmp_path):
    names = ["deepfake-detection/model.onnx", "../M0002", "no suffix"]
    paths = build_stand_ins(inventory(dict.fromkeys(names, 0.5)), tmp_path)
    assert sorted(path.name for path in paths.values()) == [
        "_M0002.onnx",
        "deepfake-detection_model.onnx",
        "no_suffix.onnx",
    ]
    assert {path.parent for path in paths.values()} == {tmp_path}


def test_with_stand_ins_leaves_real_files_alone(built, tmp_path):
    (tmp_path / "real.onnx").write_bytes(b"no stand-in")
    mixed = {
        "real.onnx": spec(1.3, path=str(tmp_path / "real.onnx"), sha256="1" * 64),
        "built.onnx": spec(1.3, path=str(built["genderage.onnx"])),
        "hashed.onnx": spec(1.3, sha256="0" * 64),
        "none.onnx": spec(1.3),
    }
    ready = with_stand_ins(mixed, tmp_path)
    assert list(ready) == list(mixed)
    assert ready["real.onnx"] == mixed["real.onnx"]
    assert ready["built.onnx"].stand_in_mb == 1.3
    for name in ("hashed.onnx", "none.onnx"):
        assert ready[name].path == str(tmp_path / name)
        assert ready[name].sha256 is None
        assert ready[name].stand_in_mb == 1.3
        check_model_file(ready[name].path)


def test_a_file_that_vramlab_did_not_make_is_never_replaced(tmp_path):
    real = tmp_path / "arcface.onnx"
    real.write_bytes(b"weights of a year")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    for name in ("arcface.onnx", "link.onnx"):
        with pytest.raises(InputError, match="a file that vramlab did not make"):
            build_stand_ins({name: spec(1.3)}, tmp_path)
    assert real.read_bytes() == b"weights of a year"


def test_names_that_would_share_a_file_get_one_each(tmp_path):
    names = ["a b.onnx", "a_b.onnx", "a/b", "A_B", "é" * 200, "é" * 201]
    paths = build_stand_ins(inventory(dict.fromkeys(names, 0.5)), tmp_path)
    assert len({path.name.lower() for path in paths.values()}) == len(names)
    assert paths["a_b.onnx"].name == "a_b.onnx"
    assert len({sha256(path) for path in paths.values()}) == len(names)


def test_a_path_that_leads_nowhere_gets_no_stand_in(tmp_path):
    typo = {"a.onnx": spec(1.3, path=str(tmp_path / "typo.onnx"))}
    with pytest.raises(InputError, match=r"models\.a\.onnx\.path: found no file .*typo.onnx"):
        with_stand_ins(typo, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stand_in_is_refused_where_the_inventory_does_not_call_it_one(tmp_path):
    told = with_stand_ins({"a.onnx": spec(2.0)}, tmp_path)
    untold = {"a.onnx": told["a.onnx"].model_copy(update={"stand_in_mb": None})}
    config = load_config(None)
    with pytest.raises(InputError, match="a stand-in, expected the model itself"):
        OnnxBackend(config, untold, "cpu-emulated")
    assert OnnxBackend(config, told, "cpu-emulated").stand_ins == ["a.onnx"]


def test_a_stand_in_that_takes_the_models_place_meanwhile_is_not_loaded(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not yet there")
    backend = OnnxBackend(load_config(None), {"a.onnx": spec(2.0, path=str(path))}, "cpu-emulated")
    path.write_bytes(Path(with_stand_ins({"a.onnx": spec(2.0)}, tmp_path / "s")["a.onnx"].path).read_bytes())
    with pytest.raises(CorruptModel, match="a stand-in"):
        backend.open("a.onnx", Target.GPU)


def test_what_is_measured_on_a_stand_in_is_not_written_down_as_the_model(tmp_path):
    given = {"a.onnx": spec(2.0, sha256="0" * 64)}
    measured = {
        name: one.model_copy(update={"vram_size_mb": 2.5})
        for name, one in with_stand_ins(given, tmp_path).items()
    }
    written = without_stand_ins(measured, given)["a.onnx"]
    assert (written.path, written.sha256, written.stand_in_mb) == (None, "0" * 64, 2.0)
    again = with_stand_ins({"a.onnx": written}, tmp_path)["a.onnx"]
    assert again.path == measured["a.onnx"].path  # the same file, though the footprint is another by now


@pytest.mark.parametrize("size_mb", [0.01, 6656])
def test_sizes_that_no_file_can_have(tmp_path, size_mb):
    with pytest.raises(InputError, match=r"stand-in of M1: vram_size_mb: found .* MB, expected at"):
        build_stand_ins({"M1": spec(size_mb)}, tmp_path)
    assert list(tmp_path.iterdir()) == []
