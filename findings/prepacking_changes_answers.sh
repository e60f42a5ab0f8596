#!/usr/bin/env bash
# ONNX Runtime: session.disable_prepacking, an option about where weights are kept, changes answers.
#
# Guess before running: with prepacking and without it, a session answers alike, bit for bit.
# Seen: with prepacking (the default) a row of a MatMul or Gemm answers alike alone and in a batch. Without
# it, a row alone differs in its last bits from the same row in a batch, and from the default's answer; in
# larger products whole batches differ too. (On x86-64 with AVX, one row times weights that are not packed has
# a kernel of its own, which adds up in another order.) So who switches prepacking off to save memory or
# loading time can no longer compare answers with those of another session, or split a batch, bit for bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROWS = 4


def product(operation, length, width, rng):
    weights = rng.standard_normal((length, width), np.float32) / np.float32(length**0.5)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(operation, ["x", "w"], ["y"])],
        "product",
        [info("x", TensorProto.FLOAT, ["N", length])],
        [info("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def answers(model, x, disabled):
    """The batch as a whole, and its rows one by one, by one session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", disabled)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    whole = session.run(None, {"x": x})[0]
    return whole, np.concatenate([session.run(None, {"x": row[None]})[0] for row in x])


rng = np.random.default_rng(0)
print("onnxruntime", onnxruntime.__version__)
as_seen = []
for operation in ("MatMul", "Gemm"):
    for length, width in ((64, 64), (256, 256), (512, 2048)):
        model = product(operation, length, width, rng)
        x = rng.standard_normal((ROWS, length), np.float32)
        whole, rows = answers(model, x, "0")
        whole_off, rows_off = answers(model, x, "1")
        alike, alike_off = np.array_equal(whole, rows), np.array_equal(whole_off, rows_off)
        kept = np.array_equal(rows, rows_off)
        as_seen.append(alike and not alike_off and not kept)
        print(
            f"{operation:6} {length}x{width}: rows alone equal rows in a batch: {alike}; "
            f"prepacking disabled: {alike_off}, off by up to {abs(whole_off - rows_off).max():.1e}; "
            f"a row alone equals the default's: {kept}; the whole batch does: {np.array_equal(whole, whole_off)}"
        )
sys.exit(not all(as_seen))
PYTHON
