"""Every kind of ONNX value goes in and comes out as onnxruntime has it, and a bad one gets one clear line."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import parser

from vramlab.config.schema import ModelSpec
from vramlab.live.errors import SessionError
from vramlab.live.onnx_sessions import make_session
from vramlab.live.values import FOREIGN_TYPES, equal_answers

SPEC = ModelSpec(priority="medium", vram_size_mb=1, load_time_ms=1)


def saved(path, graph, opset=17, ir_version=8):
    text = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]>\n{graph}'
    path.write_bytes(parser.parse_model(text).SerializeToString())
    return path


def answer(path, inputs, **spec):
    with make_session(path, SPEC.model_copy(update=spec), None) as session:
        return session.run(inputs)


def test_sequences_come_back_as_lists(tmp_path):
    graph = "g (float[N,D] x) => (seq(float[1,D]) y) { y = SplitToSequence<axis=0>(x) }"
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (rows,) = answer(saved(tmp_path / "m.onnx", graph), {"x": x})
    assert isinstance(rows, list)
    assert equal_answers(rows, [x[:1], x[1:]])


def test_a_sequence_goes_in_as_a_list(tmp_path):
    graph = "g (seq(float[N]) x) => (float[M] y) { y = ConcatFromSequence<axis=0>(x) }"
    parts = [np.ones(2, np.float32), np.zeros(1, np.float32)]
    assert answer(saved(tmp_path / "m.onnx", graph), {"x": parts})[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(("given_value", "expected"), [(None, False), (np.ones(2, np.float32), True)])
def test_an_optional_may_be_left_out(tmp_path, given_value, expected):
    graph = "g (optional(float[N]) x) => (bool y) { y = OptionalHasElement(x) }"
    assert answer(saved(tmp_path / "m.onnx", graph, 18), {"x": given_value})[0] == expected


@pytest.mark.parametrize(
    ("kind", "opset"),
    [("bfloat16", 17), ("float8e4m3fn", 19), ("float8e5m2", 19), ("int4", 21), ("uint4", 21)],
)
@pytest.mark.parametrize("length", [4, 5])  # two values of four bits share a byte
def test_types_that_numpy_lacks_go_in_and_out(tmp_path, kind, opset, length):
    number, dtype = FOREIGN_TYPES[f"tensor({kind})"]
    values = np.arange(length, dtype=np.float32).reshape(1, length)
    ir_version = 10 if opset > 20 else 9
    to_kind = f"g (float[N,{length}] x) => ({kind}[N,{length}] y) {{ y = Cast<to={number}>(x) }}"
    (made,) = answer(saved(tmp_path / "to.onnx", to_kind, opset, ir_version), {"x": values})
    if kind == "float8e4m3fn":  # the one that onnxruntime returns, as bytes
        assert made.dtype == np.uint8
        made = made.view(dtype)
    assert made.dtype == dtype
    assert made.astype(np.float32).tolist() == values.tolist()
    back = f"g ({kind}[N,{length}] x) => (float[N,{length}] y) {{ y = Cast<to=1>(x) }}"
    assert equal_answers(
        answer(saved(tmp_path / "back.onnx", back, opset, ir_version), {"x": made}), [values]
    )


def test_texts_go_through_and_bytes_are_refused(tmp_path):
    path = saved(tmp_path / "m.onnx", "g (string[N,2] x) => (string[N,2] y) { y = Identity(x) }")
    texts = np.array([["a", "b"], ["c", "dé"]], dtype=object)
    assert answer(path, {"x": texts})[0].tolist() == texts.tolist()
    with pytest.raises(SessionError, match="input x: found bytes, expected text"):
        answer(path, {"x": np.array([["a", b"b"]], dtype=object)})


def test_an_input_with_a_value_of_its_own_may_be_given_or_not(tmp_path):
    graph = "g (float[N,2] x, float[1] k = {2}) => (float[N,2] y) { y = Mul(x, k) }"
    path = saved(tmp_path / "m.onnx", graph)
    x = np.ones((1, 2), np.float32)
    assert answer(path, {"x": x})[0].tolist() == [[2, 2]]
    assert answer(path, {"x": x, "k": np.full(1, 5, np.float32)})[0].tolist() == [[5, 5]]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, r"input x: found nothing, expected float32 \(N, 2\)"),
        ({"x": np.zeros((1, 2))}, r"input x: found float64 \(1, 2\), expected float32 \(N, 2\)"),
        ({"x": np.zeros(2, np.float32)}, r"input x: found float32 \(2\), expected float32 \(N, 2\)"),
        ({"x": np.zeros((1, 3), np.float32)}, r"input x: found float32 \(1, 3\), expected"),
        ({"x": np.float32(3)}, "input x: found float32, which is no array"),
        ({"x": [[1.0], [2.0, 3.0]]}, "input x: found rows of different lengths"),
        ({"x": np.array([["a", "b"]])}, r"input x: found text \(1, 2\), expected float32"),
        ({"x": None}, "input x: found nothing"),
        ({"x": np.ones((1, 2), np.float32), "z": 1}, "input z: found an unknown input, expected one of x"),
    ],
)
def test_a_bad_input_is_named_in_one_line_and_the_next_is_served(tmp_path, inputs, said):
    path = saved(tmp_path / "m.onnx", "g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    with make_session(path, SPEC, None) as session:
        with pytest.raises(SessionError, match=f"^running m.onnx: {said}") as caught:
            session.run(inputs)
        assert "\n" not in str(caught.value)
        assert caught.value.kind == "failed"
        assert session.run({"x": np.ones((1, 2), np.float32)})[0].tolist() == [[1, 1]]


@pytest.mark.parametrize("operator", ["LSTM", "Relu"])
def test_only_recurrent_models_refuse_an_empty_batch(tmp_path, operator):
    # onnxruntime 1.31.1 ends the whole process in some recurrent operators: they must not see one.
    cell = "y, h, c = LSTM<hidden_size=2>(x, w, r)" if operator == "LSTM" else "y = Relu(x)"
    weights = "float[1,8,3] w, float[1,8,2] r" if operator == "LSTM" else "float[1] w, float[1] r"
    graph = f"g (float[T,N,3] x, {weights}) => (float[a,b,c,d] y) {{ {cell} }}"
    if operator == "Relu":
        graph = "g (float[T,N,3] x) => (float[T,N,3] y) { y = Relu(x) }"
    path = saved(tmp_path / "m.onnx", graph)
    shapes = {"w": (1, 8, 3), "r": (1, 8, 2)} if operator == "LSTM" else {}
    more = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with make_session(path, SPEC, None) as session:
        assert session.signature.plain == (operator == "Relu")
        if operator == "LSTM":
            with pytest.raises(SessionError, match=r"input x: found a shape of \(2, 0, 3\)"):
                session.run({"x": np.zeros((2, 0, 3), np.float32), **more})
        else:
            assert session.run({"x": np.zeros((2, 0, 3), np.float32)})[0].shape == (2, 0, 3)
        assert session.run({"x": np.zeros((2, 1, 3), np.float32), **more})[0].shape[0] == 2


arrays = st.sampled_from(
    [
        np.zeros(2, np.float32), np.zeros(2, np.float64), np.zeros((2, 1), np.float32),
        np.ones(2, np.float32), np.array([np.nan, 1], np.float32), np.array(["a"], dtype=object),
        np.array([1], ml_dtypes.bfloat16),
    ]
)  # fmt: skip
values = st.recursive(arrays | st.text(max_size=2) | st.floats(allow_nan=True), st.lists, max_leaves=4)


@given(values, values)
def test_equal_answers_are_those_of_equal_types_shapes_and_bits(one, other):
    assert equal_answers(one, one)
    assert equal_answers(one, other) == equal_answers(other, one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        assert equal_answers(one, other) == (alike and str(one.tolist()) == str(other.tolist()))
