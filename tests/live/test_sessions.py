"""Sessions: real ones on small models. Answers, inputs that fit, memory charged and given back, failures."""

import gc
import threading

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority
from vramlab.config.units import mib_to_bytes
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.errors import BadModelFile, CorruptModel, OutOfMemory, SessionError, translated
from vramlab.live.heap import private_bytes, trim_heap
from vramlab.live.inputs import make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.stand_ins import build_stand_ins
from vramlab.live.values import equal_answers

RNG = np.random.default_rng(0)


def spec(size_mb=1.3, **more):
    return ModelSpec(priority=Priority.MEDIUM, vram_size_mb=size_mb, load_time_ms=10, **more)


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    return build_stand_ins({"a.onnx": spec()}, tmp_path_factory.mktemp("models"))["a.onnx"]


def model_file(path, nodes, inputs, outputs, constants=()):
    """Write a model; inputs and outputs are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(*info) for info in outputs],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def doubling(path, batch):
    """y = x + x over (batch, 3)."""
    shape = [batch, 3]
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return model_file(path, nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)])


# -- running -----------------------------------------------------------------------------------------------


def test_an_answer_is_that_of_one_run_whatever_the_batch_size(stand_in):
    inputs = {"input": RNG.standard_normal((5, 3, 128, 128), dtype=np.float32)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    plain = onnxruntime.InferenceSession(str(stand_in), options, providers=["CPUExecutionProvider"])
    for size in (1, 4, 64):
        with make_session(stand_in, spec(batch_size=size), None) as session:
            assert equal_answers(session.run(inputs), plain.run(None, inputs))


@pytest.mark.parametrize(("splits", "expected"), [(False, [9]), (True, [4, 4, 1])])
def test_a_request_is_split_only_where_that_was_shown_to_be_safe(tmp_path, monkeypatch, splits, expected):
    sizes = []
    run = onnxruntime.InferenceSession.run

    def watched(self, names, feed, options=None):
        sizes.append(len(feed["x"]))
        return run(self, names, feed, options)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", watched)
    path = doubling(tmp_path / "m.onnx", "n")
    with make_session(path, spec(batch_size=4, splits=splits), None) as session:
        session.run({"x": np.ones((9, 3), np.float32)})
    assert sizes == expected


@pytest.mark.parametrize("fixed", [1, 2, 4])
@pytest.mark.parametrize("items", [1, 2, 5])
def test_a_model_that_fixes_its_batch_is_filled_up_and_cut_where_it_may_be(tmp_path, fixed, items):
    inputs = {"x": RNG.standard_normal((items, 3), dtype=np.float32)}
    path = doubling(tmp_path / "m.onnx", fixed)
    with make_session(path, spec(batch_size=32, splits=True), None) as session:
        assert session.batch_size == fixed
        (output,) = session.run(inputs)
    np.testing.assert_array_equal(output, 2 * inputs["x"])
    if items != fixed:
        with make_session(path, spec(batch_size=32), None) as session:
            said = rf"input x: found float32 \({items}, 3\), expected float32 \({fixed}, 3\) .*may be split"
            with pytest.raises(SessionError, match=said):
                session.run(inputs)


def test_inputs_without_a_batch_axis_go_whole_into_every_run(tmp_path):
    path = model_file(
        tmp_path / "m.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 3]), ("factor", TensorProto.FLOAT, [3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
    )
    x, factor = np.ones((3, 3), np.float32), np.array([1, 2, 3], np.float32)
    with make_session(path, spec(splits=True), None) as session:
        assert session.axis.names == ("x",)
        (output,) = session.run({"x": x, "factor": factor})
    np.testing.assert_array_equal(output, x * factor)


def test_a_vector_is_no_batch(tmp_path):
    # An input of one axis is a length of text or sound: cutting it up would change the answer.
    path = model_file(
        tmp_path / "m.onnx",
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)],
        [("x", TensorProto.FLOAT, ["length"])],
        [("y", TensorProto.FLOAT, [1])],
    )
    with make_session(path, spec(batch_size=2), None) as session:
        assert session.run({"x": np.ones(10, np.float32)})[0] == 10


def test_shrinking_changes_no_answer(stand_in):
    inputs = {"input": RNG.standard_normal((3, 3, 128, 128), dtype=np.float32)}
    with make_session(stand_in, spec(batch_size=2), CpuEmulatedDevice(1 << 30)) as session:
        np.testing.assert_array_equal(session.run(inputs)[0], session.run(inputs, shrink=True)[0])


def test_several_threads_may_run_one_session(stand_in):
    inputs = {"input": RNG.standard_normal((2, 3, 128, 128), dtype=np.float32)}
    with make_session(stand_in, spec(batch_size=2), CpuEmulatedDevice(1 << 30)) as session:
        expected = session.run(inputs)[0]
        outputs = []
        threads = [threading.Thread(target=lambda: outputs.append(session.run(inputs)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(outputs) == 4
    for output in outputs:
        np.testing.assert_array_equal(output, expected)


# -- inputs ------------------------------------------------------------------------------------------------

KINDS = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.UINT8: np.uint8,
    TensorProto.BOOL: np.bool_,
}


def test_inputs_of_every_type_fit(tmp_path):
    nodes = [
        helper.make_node("Identity", [f"x{kind}"], [f"y{kind}"]) for kind in [*KINDS, TensorProto.STRING]
    ]
    inputs = [(f"x{kind}", kind, ["n", None, 2]) for kind in [*KINDS, TensorProto.STRING]]
    outputs = [(f"y{kind}", kind, ["n", None, 2]) for kind in [*KINDS, TensorProto.STRING]]
    path = model_file(tmp_path / "m.onnx", nodes, inputs, outputs)
    with make_session(path, spec(batch_size=8), None) as session:
        made = make_inputs(session, 5, RNG)
        for output, kind in zip(session.run(made), [*KINDS, TensorProto.STRING], strict=True):
            assert output.shape == (5, 16, 2)
            assert kind == TensorProto.STRING or output.dtype == KINDS[kind]


def test_open_lengths_of_images_and_shared_lengths(tmp_path):
    image = ["batch", "channels", "height", "width"]
    path = model_file(
        tmp_path / "m.onnx",
        [helper.make_node(*args) for args in [("Identity", ["a"], ["x"]), ("Add", ["b", "c"], ["y"])]],
        [
            ("a", TensorProto.FLOAT, image),
            ("b", TensorProto.FLOAT, ["batch", "length"]),
            ("c", TensorProto.FLOAT, ["batch", "length"]),
        ],
        [("x", TensorProto.FLOAT, image), ("y", TensorProto.FLOAT, ["batch", "length"])],
    )
    made = make_inputs(path, 2, RNG)
    assert made["a"].shape == (2, 3, 128, 128)
    assert made["b"].shape == made["c"].shape == (2, 16)
    with make_session(path, spec(batch_size=2), None) as session:
        session.run(made)


def test_inputs_from_the_file_are_those_of_the_session_and_follow_from_the_seed(stand_in):
    with make_session(stand_in, spec(), None) as session:
        one, two = (make_inputs(m, 2, np.random.default_rng(7)) for m in (session, stand_in))
    assert one.keys() == two.keys() == {"input"}
    np.testing.assert_array_equal(one["input"], two["input"])


def test_inputs_that_cannot_be_made(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [2])],
        [helper.make_tensor_value_info("y", TensorProto.COMPLEX64, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"input x: found tensor\(complex64\), expected .*inputs"):
        make_inputs(tmp_path / "m.onnx", 1, RNG)


# -- memory ------------------------------------------------------------------------------------------------


def test_a_load_past_the_budget_fails_and_charges_nothing(stand_in):
    device = CpuEmulatedDevice(mib_to_bytes(1.3) * 2)
    first, second = (make_session(stand_in, spec(), device) for _ in range(2))
    with pytest.raises(
        OutOfMemory, match=r"^loading a\.onnx: .*, 0 bytes are free on cpu-emulated"
    ) as caught:
        make_session(stand_in, spec(), device)
    assert caught.value.kind == "out of memory"
    first.close()
    first.close()  # once more does no harm
    assert device.memory().used_bytes == second.taken_bytes == mib_to_bytes(1.3)
    with make_session(stand_in, spec(), device):
        pass
    second.close()
    assert device.memory().used_bytes == 0


def test_a_file_larger_than_its_spec_is_charged_as_the_file(stand_in):
    device = CpuEmulatedDevice(1 << 30)
    with make_session(stand_in, spec(1.0), device) as session:
        assert session.taken_bytes == device.memory().used_bytes == stand_in.stat().st_size


def test_the_workspace_is_held_from_the_first_run_until_closed(stand_in):
    weights, workspace = mib_to_bytes(1.3), mib_to_bytes(2)
    device = CpuEmulatedDevice(weights + workspace)
    with make_session(stand_in, spec(workspace_mb=2), device) as session:
        inputs = make_inputs(session, 1, RNG)
        assert device.memory().used_bytes == weights
        for _ in range(2):
            session.run(inputs)
            assert device.memory().used_bytes == weights + workspace
        session.run(inputs, shrink=True)
        assert device.memory().used_bytes == weights
        device.lose(1)
        with pytest.raises(OutOfMemory, match=r"^running a\.onnx"):
            session.run(inputs)
        assert device.memory().used_bytes == weights + 1
    assert device.memory().used_bytes == 1


def test_sessions_on_the_cpu_cost_the_device_nothing(stand_in):
    with make_session(stand_in, spec(workspace_mb=2), None) as session:
        session.run(make_inputs(session, 1, RNG))
        assert session.taken_bytes is None


@pytest.mark.skipif(private_bytes() is None, reason="needs /proc")
def test_closing_gives_memory_back_to_the_machine(tmp_path):
    # While the wrapper lives: a description of an input that was kept once held all of the session.
    size_mb = 60
    path = build_stand_ins({"big.onnx": spec(size_mb)}, tmp_path)["big.onnx"]
    with make_session(path, spec(size_mb), None) as session:
        session.run(make_inputs(session, 1, RNG))
        loaded = private_bytes()
    gc.collect()
    trim_heap()
    assert session.signature.inputs
    assert loaded - private_bytes() > mib_to_bytes(size_mb) / 2


@pytest.mark.skipif(private_bytes() is None, reason="needs /proc")
def test_a_kept_answer_keeps_no_session(stand_in):
    # Outputs as onnxruntime returns them hold an arena of a megabyte each, and leave holes where models were.
    kept, held = [], []
    for _ in range(2):
        for _ in range(20):
            with make_session(stand_in, spec(), None) as session:
                kept += session.run(make_inputs(session, 1, RNG))
        gc.collect()
        trim_heap()
        held.append(private_bytes())
    assert held[1] - held[0] < mib_to_bytes(5)


# -- failures ----------------------------------------------------------------------------------------------


def test_a_file_that_is_refused_charges_nothing(tmp_path, stand_in):
    device = CpuEmulatedDevice(1 << 30)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(stand_in.read_bytes()[:-1])
    for path, more in [(cut, {}), (tmp_path / "gone.onnx", {}), (stand_in, {"sha256": "0" * 64})]:
        with pytest.raises(BadModelFile):
            make_session(path, spec(**more), device)
    assert device.memory().used_bytes == 0


def test_a_whole_file_with_a_broken_graph_is_corrupt(tmp_path):
    device = CpuEmulatedDevice(1 << 30)
    x, y = ("x", TensorProto.FLOAT, ["n", 3]), ("y", TensorProto.FLOAT, ["n", 3])
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    broken = {
        "unknown operator": [helper.make_node("Nonsense", ["x"], ["y"])],
        "input from nowhere": [helper.make_node("Add", ["x", "nowhere"], ["y"])],
        "shapes that do not fit": [helper.make_node("MatMul", ["x", "w"], ["y"])],
    }
    for number, nodes in enumerate(broken.values()):
        path = model_file(tmp_path / f"{number}.onnx", nodes, [x], [y], [weight])
        with pytest.raises(CorruptModel, match=f"^loading {number}.onnx: ") as caught:
            make_session(path, spec(), device)
        assert caught.value.kind == "corrupt"
    assert device.memory().used_bytes == 0


def test_a_run_that_raises_is_failed_and_the_session_lives_on(stand_in):
    with make_session(stand_in, spec(), CpuEmulatedDevice(1 << 30)) as session:
        good = make_inputs(session, 1, RNG)
        for bad in [{}, {"input": np.ones((1, 3, 5, 5), np.float32)}, {"input": good["input"].astype("f8")}]:
            with pytest.raises(SessionError, match=r"^running a\.onnx: ") as caught:
                session.run(bad)
            assert caught.value.kind == "failed"
        session.run(good)


def test_inputs_that_differ_in_length_are_not_split(tmp_path):
    path = model_file(
        tmp_path / "m.onnx",
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", TensorProto.FLOAT, ["n", 3]), ("b", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
    )
    ones = np.ones((2, 3), np.float32)
    with make_session(path, spec(), None) as session:  # one row goes with both others, as in onnxruntime
        np.testing.assert_array_equal(session.run({"a": ones, "b": ones[:1]})[0], 2 * ones)
    with (
        make_session(path, spec(splits=True), None) as session,
        pytest.raises(SessionError, match="number of items"),
    ):
        session.run({"a": ones, "b": ones[:1]})


def test_a_closed_session_does_not_run(stand_in):
    session = make_session(stand_in, spec(), None)
    inputs = make_inputs(session, 1, RNG)
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.run(inputs)


def test_no_memory_in_the_machine_itself_is_out_of_memory():
    with pytest.raises(OutOfMemory), translated("loading"):
        raise MemoryError
