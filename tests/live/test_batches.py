"""Which models may be split, and that a split answer is the whole one: decided by trying, never by looks."""

import asyncio

import numpy as np
import pytest
from onnx import parser

import vramlab
from vramlab.config.schema import ModelSpec
from vramlab.live.batches import batch_axis, run_split, why_not_split
from vramlab.live.choices import choose
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.errors import SessionError
from vramlab.live.inputs import RECIPES, make_inputs
from vramlab.live.onnx_sessions import make_session
from vramlab.live.runtime import RequestFailed
from vramlab.live.values import InputInfo, equal_answers

SPEC = ModelSpec(priority="medium", vram_size_mb=1, load_time_ms=1, batch_size=4)

SAFE = {
    "each row by itself": "g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }",
    "a fixed batch, each row by itself": "g (float[4,3] x) => (float[4,3] y) { y = Relu(x) }",
    "a list with an entry per row": "g (float[N,3] x) => (seq(float[1,3]) y)"
    " { y = SplitToSequence<axis=0>(x) }",
}
UNSAFE = {
    "a running sum": "g (float[T,D] x) => (float[T,D] y)"
    " { axis = Constant<value=int64 {0}>() y = CumSum(x, axis) }",
    "a mean over all rows": "g (float[N,D] x) => (float y) { y = ReduceMean<keepdims=0>(x) }",
    "a softmax over rows": "g (float[N,D] x) => (float[N,D] y) { y = Softmax<axis=0>(x) }",
    "rows turned to columns": "g (float[N,D] x) => (float[D,N] y) { y = Transpose(x) }",
    "indices of all": "g (float[N,D] x) => (int64[2,K] y) { y = NonZero(x) }",
    "a fixed batch, summed up": "g (float[4,3] x) => (float[4,3] y)"
    " { axis = Constant<value=int64 {0}>() y = CumSum(x, axis) }",
}


def saved(path, graph):
    path.write_bytes(
        parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}').SerializeToString()
    )
    return str(path)


def chosen(path):
    return choose(SPEC.model_copy(update={"path": path}), CpuEmulatedDevice(1 << 30), RECIPES[0])


@pytest.mark.parametrize("graph", SAFE.values(), ids=SAFE)
def test_a_model_whose_rows_are_their_own_may_be_split(tmp_path, graph):
    path = saved(tmp_path / "m.onnx", graph)
    choice = chosen(path)
    assert choice.spec.splits
    assert choice.notes == []
    with make_session(path, choice.spec, None) as session:
        inputs = make_inputs(session, 9, np.random.default_rng(0), None, choice.spec)
        (output,) = session.run(inputs)
        assert len(inputs["x"]) == len(output) == 9
        singles = [session.run({"x": inputs["x"][row : row + 1]})[0] for row in range(9)]
        assert equal_answers(list(output), [item for single in singles for item in single])


@pytest.mark.parametrize("graph", UNSAFE.values(), ids=UNSAFE)
def test_a_model_whose_answer_depends_on_the_other_rows_is_not_split(tmp_path, graph):
    path = saved(tmp_path / "m.onnx", graph)
    choice = chosen(path)
    assert not choice.spec.splits
    (note,) = choice.notes
    assert note.startswith("requests are not split: ")


def test_nothing_is_tried_where_nothing_asks_for_it(tmp_path):
    spec = SPEC.model_copy(
        update={"path": saved(tmp_path / "m.onnx", UNSAFE["a running sum"]), "batch_size": 1}
    )
    assert choose(spec, CpuEmulatedDevice(1 << 30), RECIPES[0]).notes == []


def test_a_declaration_that_trying_refutes_is_taken_back(tmp_path):
    spec = SPEC.model_copy(
        update={"path": saved(tmp_path / "m.onnx", UNSAFE["a running sum"]), "splits": True}
    )
    assert not choose(spec, CpuEmulatedDevice(1 << 30), RECIPES[0]).spec.splits


@pytest.mark.parametrize(
    ("shapes", "names", "fixed"),
    [
        ([("N", 3), ("N", 4), (3,)], ("a", "b"), None),
        ([(None, 3), (None, 4)], ("a",), None),  # without a name they have nothing to do with each other
        ([(-1, 3), (-1, 4)], ("a",), None),  # as old exporters wrote it
        ([("T", 576), (1, 1, 128)], ("a",), None),
        ([(2, 3), (2, 4)], ("a", "b"), 2),
    ],
)
def test_what_looks_like_a_batch(shapes, names, fixed):
    infos = [InputInfo(name, shape, "tensor(float)") for name, shape in zip("abc", shapes, strict=False)]
    axis = batch_axis(infos)
    assert (axis.names, axis.fixed) == (names, fixed)


@pytest.mark.parametrize("shape", [(), ("length",)])
def test_a_vector_and_a_scalar_are_no_batch(shape):
    assert batch_axis([InputInfo("x", shape, "tensor(float)")]) is None


def test_items_are_counted_along_the_batch_only():
    axis = batch_axis(
        [InputInfo("x", ("N", 3), "tensor(float)"), InputInfo("h", (2, "N", 4), "tensor(float)")]
    )
    assert (
        axis.items({"x": np.zeros((1, 3)), "h": np.zeros((2, 1, 4))}) == 1
    )  # a state of two layers is no two
    assert axis.items({"x": [[1, 2, 3], [4, 5, 6]]}) == 2
    assert axis.items({}) == 1


def test_a_request_whose_inputs_have_different_lengths_is_not_split():
    axis = batch_axis([InputInfo("a", ("N", 1), "tensor(float)"), InputInfo("b", ("N", 1), "tensor(float)")])
    with pytest.raises(SessionError, match=r"number of items: \{'a': 3, 'b': 2\}"):
        run_split(lambda _: [], {"a": np.zeros((3, 1)), "b": np.zeros((2, 1))}, axis, 2)


def test_an_answer_without_items_is_a_reason():
    axis = batch_axis([InputInfo("x", (2, 1), "tensor(float)")])
    why = why_not_split(lambda feeds: [{"a": 1}], lambda items: {"x": np.zeros((2, 1))}, axis, 2)
    assert "type dict has no items" in why


JOINING = {
    "a mean that one true sample hides": "g (float[N,3] x) => (float[N,3] y)"
    " { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }",
    "joined only where numbers are large": """g (float[N,3] x) => (float[N,3] y) {
        six = Constant<value=float {6}>() m = ReduceMean<axes=[0]>(x) d = Sub(x, m)
        big = Greater(x, six) y = Where(big, d, x) }""",
    "a scale for all rows": "g (float[N,3] x) => (uint8[N,3] y, float s, uint8 z)"
    " { y, s, z = DynamicQuantizeLinear(x) }",
    "an answer that says nothing": "g (float[N,3] x) => (float[N,3] y)"
    " { z = Constant<value=float {0}>() y = Mul(x, z) }",
}


@pytest.mark.parametrize("graph", JOINING.values(), ids=JOINING)
def test_what_trying_alone_would_miss_is_not_split(tmp_path, graph):
    path = saved(tmp_path / "m.onnx", graph)
    np.savez(tmp_path / "one.npz", x=np.ones((1, 3), np.float32))
    for inputs in (None, str(tmp_path / "one.npz")):
        spec = SPEC.model_copy(update={"path": path, "inputs": inputs})
        assert not choose(spec, CpuEmulatedDevice(1 << 30), RECIPES[0]).spec.splits


def test_a_declaration_is_tried_where_it_is_served(tmp_path):
    graphs = (UNSAFE["a running sum"], SAFE["each row by itself"], SAFE["a fixed batch, each row by itself"])
    models = {
        name: SPEC.model_copy(update={"path": saved(tmp_path / name, graph), "splits": True})
        for name, graph in zip(("sum", "safe", "four"), graphs, strict=True)
    }

    async def main():
        config = vramlab.load_config(None, ["zones={flexible: {size_mb: 1536}}"])
        async with vramlab.LiveRuntime(config, models, "cpu-emulated") as runtime:
            x = np.ones((9, 2), np.float32)
            with pytest.raises(RequestFailed, match=r"splits: true, and .* do not give what one run gives"):
                await runtime.infer("sum", {"x": x})
            for name in ("safe", "four"):
                (output,) = await runtime.infer(name, {"x": np.ones((9, 3), np.float32)})
                assert len(output) == 9

    asyncio.run(main())
