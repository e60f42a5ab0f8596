#!/usr/bin/env bash
# ONNX Runtime: session.set_denormal_as_zero acts by what the process's FIRST session said, and by thread.
#
# Guess before running: a session with the option flushes denormals in its own runs, in the calling thread and
# in its workers alike.
# Seen: the first session of a process decides for the thread that makes it, for good. Did it set the option,
# then numpy in that thread and a later session without it flush too. Did it not, then the option of a later
# session reaches only that session's worker threads: with one thread it does nothing, with more threads one
# element-wise answer is flushed in some parts and kept in others, in other parts at each run.
# So which model happened to be loaded first changes the answers of all the others.
# (x86-64 only: elsewhere onnxruntime does not set the mode, and this script says so and stops.)
set -euo pipefail
if [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: not an x86-64 CPU"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cat > "$folder/case.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore", message="The value of the smallest subnormal")
DENORMAL = np.float32(1e-40)
RUNS = 500


def halving():
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "half"], ["y"])],
        "halving",
        [info("x", TensorProto.FLOAT, ["N"])],
        [info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.float32(0.5), "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def session(with_option, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.set_denormal_as_zero", "1" if with_option else "0")
    return onnxruntime.InferenceSession(halving(), options, providers=["CPUExecutionProvider"])


def kept(one, size):
    """The share of denormals that are not zero in the answer."""
    return float((one.run(None, {"x": np.full(size, DENORMAL)})[0] != 0).mean())


def numpy_keeps():
    return bool((np.full(4, DENORMAL) * np.float32(0.5)).any())


if sys.argv[1] == "first":
    flushing = session(True, 1)
    plain = session(False, 1)
    seen = (kept(flushing, 1000), kept(plain, 1000), numpy_keeps())
    print("onnxruntime", onnxruntime.__version__)
    print("option in the first session only: kept by it, by the second, by numpy:", seen)
    sys.exit(seen != (0.0, 0.0, False))
plain = session(False, 1)
single, double = session(True, 1), session(True, 2)
seen = (kept(plain, 1000), kept(single, 1000), numpy_keeps())
print("option in later sessions only: kept by the first, by one with the option and one thread, by numpy:", seen)
for _ in range(RUNS):
    share = kept(double, 1_000_000)
    if 0 < share < 1:
        break
print("with the option and two threads, share kept within one answer:", share)
sys.exit(seen != (1.0, 1.0, True) or not 0 < share < 1)
PYTHON
"$folder/venv/bin/python" "$folder/case.py" first
"$folder/venv/bin/python" "$folder/case.py" later
