#!/usr/bin/env bash
# ONNX Runtime: a buffer bound for an output stays unfilled, without an error, if the output is a graph input.
#
# Guess before running: a buffer bound with bind_ortvalue_output holds the answer after the run, also where the
# output is a constant, or an input of the graph passed through.
# Seen: for a constant, yes; for Identity of the input, yes; for the input itself, no. The run succeeds, the
# buffer keeps what it held before, and get_outputs() no longer gives the buffer but the caller's own input
# array: writing into that answer changes the request. So a runtime with output buffers of its own (for reuse,
# shared memory or a fixed device address) serves the answer of an earlier request for such an output.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

info = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["relu"]), helper.make_node("Identity", ["x"], ["same"])],
    "pass_through",
    [info("x", TensorProto.FLOAT, [4])],
    [info(name, TensorProto.FLOAT, [4]) for name in ("relu", "same", "table", "x")],
    [numpy_helper.from_array(np.full(4, 3, np.float32), "table")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
names = [one.name for one in session.get_outputs()]
x = np.full(4, 7, np.float32)
buffers = {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.full(4, -5, np.float32)) for name in names}
binding = session.io_binding()
binding.bind_cpu_input("x", x)
for name in names:
    binding.bind_ortvalue_output(name, buffers[name])
session.run_with_iobinding(binding)
print("onnxruntime", onnxruntime.__version__, "- input 7, table 3, buffers -5 before the run")
held, given = {}, {}
for name, answer in zip(names, binding.get_outputs(), strict=True):
    held[name], given[name] = float(buffers[name].numpy()[0]), float(answer.numpy()[0])
    print(f"{name:6} buffer {held[name]:4}, get_outputs {given[name]:4}")
is_input = np.shares_memory(binding.get_outputs()[names.index("x")].numpy(), x)
print("the output x of get_outputs is the caller's input array:", is_input)
plain = session.run(None, {"x": x})[names.index("x")]
print("session.run gives a copy:", not np.shares_memory(plain, x), plain)
changed = held != {"relu": 7, "same": 7, "table": 3, "x": -5} or given != {"relu": 7, "same": 7, "table": 3, "x": 7}
sys.exit(changed or not is_input)
PYTHON
