#!/usr/bin/env bash
# ONNX Runtime: registering a second shared arena for a device replaces the first without an error.
#
# Guess before running: create_and_register_allocator for a device that has a shared arena already is refused.
# Seen: it succeeds. (The C API's text says "Returns an error if an allocator with the same OrtMemoryInfo is
# already registered", and version 1.17 did: microsoft/onnxruntime 20027.) Sessions made before keep the old
# arena and its limit, sessions made after have the new one. So two parts of a program that each "make sure"
# of a shared arena do not share memory, and the limit that one of them set holds for some models only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

MIB = 1 << 20
SAME_AS_REQUESTED = 1

info = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Sigmoid", ["x"], ["y"])],
    "one_answer",
    [info("x", TensorProto.FLOAT, ["N"])],
    [info("y", TensorProto.FLOAT, ["N"])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
x = np.ones(2 * MIB, np.float32)  # the answer takes 8 MiB of the arena


def register(limit):
    device = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": limit, "arena_extend_strategy": SAME_AS_REQUESTED})
    onnxruntime.create_and_register_allocator(device, arena)


def session():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def runs(one):
    try:
        one.run(None, {"x": x})
    except Exception as error:
        if "Available memory of" not in str(error):
            raise
        return False
    return True


print("onnxruntime", onnxruntime.__version__)
register(MIB)
before = session()
seen = [runs(before)]
print("arena of 1 MiB: an answer of 8 MiB fits:", seen[-1])
register(1024 * MIB)
after = session()
seen += [runs(after), runs(before)]
print("second arena of 1 GiB registered without an error; fits for a new session, for the old one:", seen[1:])
register(MIB)
seen += [runs(session()), runs(after)]
print("third of 1 MiB registered; fits for a new session, for the one of the second:", seen[3:])
sys.exit(seen != [False, True, False, False, True])
PYTHON
