#!/usr/bin/env bash
# ONNX Runtime: random operators without a seed draw the same numbers in every session of one process.
#
# Guess before running: of two sessions made one after the other, the second has a random stream of its own.
# Seen: each session starts the same stream anew, and so do sessions of other models whose random operator has
# the same place in the graph, also RandomNormal and RandomNormalLike alike. Only runs of one session differ.
# (A process starts from the clock or from onnxruntime.set_seed; each operator adds its node's index, and the
# sessions do not draw on. microsoft/onnxruntime 27771.) So for models with noise (speech, diffusion, sampling)
# residency is visible in the answers: an evicted and reloaded model, or a replica, repeats the noise that the
# first load has already given, and a model that stays resident does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import gc
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

SIZE, RUNS = 6, 3


def noisy(noise, then):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [noise, helper.make_node(then, ["x", "noise"], ["y"])],
        "noisy",
        [info("x", TensorProto.FLOAT, [SIZE])],
        [info("y", TensorProto.FLOAT, [SIZE])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def draws(model):
    """What a new session draws in its first runs; the session is gone afterwards."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    seen = [session.run(None, {"x": np.zeros(SIZE, np.float32)})[0].copy() for _ in range(RUNS)]
    del session
    gc.collect()
    return np.stack(seen)


normal = noisy(helper.make_node("RandomNormal", [], ["noise"], shape=[SIZE]), "Add")
uniform = noisy(helper.make_node("RandomUniformLike", ["x"], ["noise"]), "Add")
other = noisy(helper.make_node("RandomNormalLike", ["x"], ["noise"]), "Sub")
print("onnxruntime", onnxruntime.__version__, "- no seed in the models, set_seed not called")
first = draws(normal)
as_seen = [
    ("runs of one session differ", not np.array_equal(first[0], first[1])),
    ("a reloaded session repeats all of them", np.array_equal(first, draws(normal))),
    ("another model draws the same numbers", np.array_equal(first, -draws(other))),
    ("RandomUniformLike repeats as well", np.array_equal(draws(uniform), draws(uniform))),
]
for text, so in as_seen:
    print(f"{text}: {so}")
sys.exit(not all(so for _, so in as_seen))
PYTHON
