"""What texts of exceptions mean: a sample of each row, real ones where this machine makes them."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from vramlab.config.units import MIB
from vramlab.live.cpu_arena import LimitedArena
from vramlab.live.errors import (
    CorruptModel,
    DeviceFailed,
    DeviceLost,
    NonsenseSize,
    OutOfMemory,
    OwnLimit,
    SessionError,
    translated,
)
from vramlab.live.failure_texts import TEXTS, meaning_of

GIB = 1024 * MIB

# One or more per row, in the order of the rows. Those of CUDA are from issues of onnxruntime's, shortened.
SAMPLES = [
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaMemcpy", DeviceLost),
        ("CUDA failure 719: unspecified launch failure ; GPU=0 ; file=cuda_stream_handle.cc", DeviceLost),
        ("CUDA failure 710: device-side assert triggered ; GPU=0", DeviceLost),
        ("CUDA error 999: unknown error", DeviceLost),
    ],
    [
        ("cudaStreamDestroy failed: an illegal memory access was encountered", DeviceLost),
        ("cublasLt: unspecified launch failure", DeviceLost),
    ],
    [("WebGPU device lost (2): the driver was updated", DeviceLost)],
    [("bfc_arena.cc:385 Available memory of 19968 is smaller than requested bytes of 1572864", OwnLimit)],
    [
        (
            "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 9",
            OutOfMemory,
        ),
    ],
    [
        ("CUDA failure 2: out of memory ; GPU=0 ; file=cuda_allocator.cc ; expr=cudaMalloc", OutOfMemory),
        ("cudaErrorMemoryAllocation", OutOfMemory),
    ],
    [("cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY", OutOfMemory)],
    [
        ("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED", OutOfMemory),
        ("CUDNN failure 4003: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", OutOfMemory),
        ("CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", OutOfMemory),
    ],
    [("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", OutOfMemory)],
    [
        ("vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY", OutOfMemory),
        ("webgpu_context.cc:120 WebGPU device error(2): Out of memory", OutOfMemory),
    ],
    [("std::bad_alloc", OutOfMemory), ("bad allocation", OutOfMemory)],
    [("CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED ; GPU=0", DeviceFailed)],
    [
        ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED", DeviceFailed),
        ("CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED", DeviceFailed),
        ("CUDA failure 209: no kernel image is available for execution on the device", DeviceFailed),
    ],
    [("cufft: Out Of Memory", OutOfMemory)],
]


class Fail(Exception):
    """Called as onnxruntime's own is, whose exceptions are no RuntimeError."""


def test_every_row_has_a_source_and_a_sample_that_it_is_the_first_to_know():
    assert len(TEXTS) == len(SAMPLES)
    for number, (row, samples) in enumerate(zip(TEXTS, SAMPLES, strict=True)):
        assert row.source
        for text, _ in samples:
            first = next(n for n, other in enumerate(TEXTS) if other.pattern.search(text))
            assert first == number, text


@pytest.mark.parametrize(("text", "error"), [sample for samples in SAMPLES for sample in samples])
@pytest.mark.parametrize("loading", [False, True])
def test_a_text_becomes_the_error_that_it_means(text, error, loading):
    with pytest.raises(SessionError) as caught, translated("doing it", loading=loading):
        raise Fail(text)
    assert type(caught.value) is error
    assert type(caught.value.__cause__) is Fail
    assert str(caught.value).startswith("doing it: ")
    if error is DeviceLost:
        assert "restart it" in str(caught.value)


def test_what_no_row_knows_is_a_broken_file_in_a_load_and_a_failed_run():
    said = "Load model from m.onnx failed: invalid graph"
    for loading, error in ((True, CorruptModel), (False, SessionError)):
        with pytest.raises(SessionError) as caught, translated("doing it", loading=loading):
            raise Fail(said)
        assert type(caught.value) is error


def test_how_much_was_lacking():
    own = meaning_of("Available memory of 20 is smaller than requested bytes of 50")
    full = meaning_of("Failed to allocate memory for requested buffer of size 50")
    assert (own.lacking_bytes, full.lacking_bytes) == (30, 50)
    assert meaning_of("CUDA failure 2: out of memory").lacking_bytes is None


@pytest.mark.parametrize(
    "text",
    [
        "Failed to allocate memory for requested buffer of size 4585490524328388608",  # issue 22702
        "Available memory of 5 is smaller than requested bytes of 12884901889",
    ],
)
def test_more_than_the_device_has_in_all_is_nonsense(text):
    with pytest.raises(NonsenseSize), translated("running", total_bytes=12 * GIB):
        raise Fail(text)
    assert meaning_of(text).kind != "nonsense size"  # without a device there is nothing to hold it against


# -- real ones -----------------------------------------------------------------------------------------------


def a_request(limit_bytes, length):
    """Ask an arena of onnxruntime's for so many bytes."""
    arena = LimitedArena(limit_bytes)
    with translated("running", total_bytes=1 << 62):
        arena._probe.run(None, {"length": np.array([length], np.int64)})


def test_a_real_arena_at_its_limit():
    with pytest.raises(OwnLimit) as caught:
        a_request(MIB, 2 * MIB)
    assert caught.value.lacking_bytes == MIB
    assert not isinstance(caught.value.__cause__, RuntimeError)
    assert type(caught.value.__cause__).__module__ == onnxruntime.capi.onnxruntime_pybind11_state.__name__


def test_a_real_absurd_size():
    with pytest.raises(NonsenseSize), translated("running", total_bytes=8 * GIB):
        LimitedArena(MIB)._probe.run(None, {"length": np.array([4_585_490_524_328_388_608], np.int64)})


FULL = """
import resource
from tests.live.test_failure_texts import GIB, MIB, a_request
from vramlab.live.errors import OutOfMemory

a_request(GIB, MIB)
taken = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (taken + 64 * MIB, taken + 64 * MIB))
try:
    a_request(GIB, 200 * MIB)
except OutOfMemory as error:
    print(type(error).__name__, error.kind, error.lacking_bytes, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process as Linux does")
def test_a_real_device_that_is_full():
    """The arena may have a gigabyte, and its process has no 200 MB left: what ``cudaMalloc`` is to CUDA's."""
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    kind, size = "OutOfMemory out of memory", 200 * MIB
    assert done.stdout.startswith(f"{kind} {size} running: ")
    assert f"Failed to allocate memory for requested buffer of size {size}" in done.stdout
