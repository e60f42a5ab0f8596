"""Joined requests on real ONNX models: each answer equals the one of its own run, bit for bit."""

import asyncio

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from tests.live.test_runtime import Run, settings, spec
from vramlab.live.batches import batch_axis, run_joined
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.errors import SessionError
from vramlab.live.runtime import RequestFailed
from vramlab.live.values import InputInfo, equal_answers
from vramlab.runs.journal_reading import read_journal

RNG = np.random.default_rng(0)


def small_network(path):
    """Two layers and a softmax: an item's answer depends on no other."""
    graph = parser.parse_graph(
        "g (float[N,16] x) => (float[N,4] y) { a = MatMul(x, w) b = Relu(a) c = MatMul(b, v) y = Softmax(c) }"
    )
    for name, shape in (("w", (16, 32)), ("v", (32, 4))):
        values = RNG.normal(size=shape).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


def slow_start(path):
    """A network whose first run keeps the others waiting: so many products of one matrix."""
    body = " ".join(f"h{i + 1} = MatMul(h{i}, w)" for i in range(60))
    text = f"g (float[N,256] x) => (float[N,256] y) {{ h0 = Tanh(x) {body} y = Tanh(h60) }}"
    graph = parser.parse_graph(text)
    values = (RNG.normal(size=(256, 256)) / 16).astype(np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("make", [small_network, slow_start])
def test_answers_of_a_running_server_equal_single_runs(tmp_path, make):
    path = make(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    width = session.get_inputs()[0].shape[1]
    requests = [RNG.normal(size=(items, width)).astype(np.float32) for items in RNG.integers(1, 4, 40)]
    inventory = {"m": spec(4, path=path, splits=True, batch_size=8)}

    async def main():
        async with Run(tmp_path, settings(20, "serving.batching=true"), inventory) as runtime:
            return await asyncio.gather(*(runtime.infer("m", {"x": x}) for x in requests))

    answers = asyncio.run(main())
    for x, answer in zip(requests, answers, strict=True):
        assert equal_answers(list(answer), session.run(None, {"x": x}))
    starts = [line for line in read_journal(tmp_path / "journal.jsonl") if line.event == "start"]
    joined = [line.detail["joined"] for line in starts if line.detail and "joined" in line.detail]
    assert joined, "nothing was joined"
    runs = sum(line.what == "infer on gpu" for line in starts)
    assert runs + sum(map(len, joined)) == len(requests)
    assert runs < len(requests)


def test_one_bad_input_fails_its_request_alone(tmp_path):
    inventory = {"m": spec(4, path=slow_start(tmp_path / "m.onnx"), splits=True, batch_size=8)}
    good, bad = np.ones((1, 256), np.float32), np.ones((1, 255), np.float32)

    async def main():
        async with Run(tmp_path, settings(20, "serving.batching=true"), inventory) as runtime:
            asked = [runtime.infer("m", {"x": bad if place == 4 else good}) for place in range(9)]
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(main())
    assert [place for place, answer in enumerate(answers) if isinstance(answer, RequestFailed)] == [4]
    assert all(equal_answers(answer, answers[0]) for place, answer in enumerate(answers) if place != 4)


def test_threads_that_run_their_own_requests_are_joined_too(tmp_path):
    path = slow_start(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inventory = {"m": spec(4, path=path, splits=True, batch_size=8)}
    requests = [RNG.normal(size=(1, 256)).astype(np.float32) for _ in range(16)]

    async def asked(runtime):
        return await asyncio.gather(*(asyncio.to_thread(runtime.infer, "m", {"x": x}) for x in requests))

    with BlockingRuntime(settings(20, "serving.batching=true"), inventory, "cpu-emulated") as runtime:
        answers = asyncio.run(asked(runtime))
    for x, answer in zip(requests, answers, strict=True):
        assert equal_answers(list(answer), session.run(None, {"x": x}))


# -- joining and splitting by themselves

AXIS = batch_axis([InputInfo("x", ("N", 2), "tensor(float)"), InputInfo("t", (), "tensor(float)")])


def doubled(seen):
    def run(inputs):
        seen.append(len(inputs["x"]))
        return [inputs["x"] * 2, [row.sum() for row in inputs["x"]]]

    return run


def test_an_example_by_hand():
    seen = []
    one, two = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])
    first, second = run_joined(doubled(seen), [{"x": one}, {"x": two}], AXIS)
    assert seen == [3]
    assert first[0].tolist() == [[2, 4]]
    assert first[1] == [3.0]
    assert second[0].tolist() == [[6, 8], [10, 12]]
    assert second[1] == [7.0, 11.0]
    first[0][:] = 0  # an answer belongs to its caller
    assert second[0].base is None
    assert second[0].tolist() == [[6, 8], [10, 12]]


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.ones((1, 3))},
        {"x": np.ones((1, 2), np.float32)},
        {"x": [[1.0, 2.0]]},
        {"x": np.ones((1, 2)), "t": np.array(2.0)},
        {"x": np.ones((0, 2))},
    ],
    ids=["another shape", "another type", "no array", "another threshold", "no item"],
)
def test_requests_that_do_not_fit_together_run_one_after_the_other(other):
    seen = []

    def run(inputs):
        seen.append(inputs)
        return [np.asarray(inputs["x"])]

    answers = run_joined(run, [{"x": np.ones((1, 2))}, other], AXIS)
    assert len(seen) == 2
    assert equal_answers(answers[1][0], np.asarray(other["x"]))


def test_an_answer_of_another_length_is_no_answer():
    with pytest.raises(SessionError, match="1 answers for 2 items"):
        run_joined(lambda inputs: [np.zeros((1, 2))], [{"x": np.ones((1, 2))}] * 2, AXIS)
