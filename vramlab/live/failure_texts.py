"""What onnxruntime, CUDA, cuDNN and cuBLAS say when something fails, and what it means: one row per text.

onnxruntime's exceptions share no base but ``Exception`` and tell their cause in the text alone. The first
row that is found in a text decides. Every row names where its text comes from, and has a sample in a test;
what no row knows is a failure of the model or its inputs.

- *own limit*: the session's arena may not grow further. Others have nothing to do with it.
- *out of memory*: the device has no room, whoever has it.
- *nonsense size*: more is asked for than the device has in all. That is a bug, and no demand.
- *device lost*: every later call of this process fails too (a *sticky* error of CUDA).
- *device failed*: this call failed on the device; the CPU may do it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal[
    "out of memory", "own limit", "nonsense size", "device lost", "device failed", "corrupt", "failed"
]


class Text(NamedTuple):
    """A text, what it means, and where it comes from.

    A group called ``asked`` is the size that was asked for, one called ``left`` what there was; bytes.
    """

    pattern: re.Pattern[str]
    kind: Kind
    source: str


class Meaning(NamedTuple):
    """What a text means; bytes where it names them."""

    kind: Kind
    asked_bytes: int | None = None
    left_bytes: int | None = None

    @property
    def lacking_bytes(self) -> int | None:
        """How much more there should have been."""
        if self.asked_bytes is None:
            return None
        return max(1, self.asked_bytes - (self.left_bytes or 0))


def _text(pattern: str, kind: Kind, source: str) -> Text:
    return Text(re.compile(pattern, re.IGNORECASE), kind, source)


_RUNTIME_API = "CUDA runtime API, cudaError"
TEXTS = (
    # A sticky error comes first: memory that cannot be had afterwards is its consequence.
    _text(
        r"CUDA (?:failure|error) (?:700|702|709|710|714|715|716|717|718|719|999)\b",
        "device lost",
        f"onnxruntime cuda_call.cc; {_RUNTIME_API}: the process has to be started anew; issue 26312",
    ),
    _text(
        r"illegal memory access was encountered|unspecified launch failure|device-side assert triggered",
        "device lost",
        f"{_RUNTIME_API}: texts of 700, 719, 710",
    ),
    _text(r"WebGPU device (?:was )?lost", "device lost", "onnxruntime webgpu_context.cc"),
    _text(
        r"Available memory of (?P<left>\d+) is smaller than requested bytes of (?P<asked>\d+)",
        "own limit",
        "onnxruntime bfc_arena.cc, BFCArena::Extend",
    ),
    _text(
        r"Failed to allocate memory for requested buffer of size (?P<asked>\d+)"
        r"(?:, (?P<left>\d+) bytes are free)?",
        "out of memory",
        "onnxruntime bfc_arena.cc, BFCArena::AllocateRawInternal; issue 16307",
    ),
    _text(
        r"CUDA (?:failure|error) 2\b|cudaErrorMemoryAllocation",
        "out of memory",
        f"onnxruntime cuda_call.cc; {_RUNTIME_API} 2: the weights of a load",
    ),
    _text(r"CUDA_ERROR_OUT_OF_MEMORY", "out of memory", "CUDA driver API, CUresult 2"),
    _text(
        r"CUDNN_STATUS_(?:INTERNAL_ERROR_)?(?:HOST_|DEVICE_)?ALLOC(?:ATION)?_FAILED",
        "out of memory",
        "cuDNN, cudnnStatus_t: ALLOC_FAILED up to 8, host and device apart in 9",
    ),
    _text(
        r"CUBLAS_STATUS_ALLOC_FAILED|CUBLAS failure 3\b",
        "out of memory",
        "cuBLAS, cublasStatus_t 3",
    ),
    _text(
        r"VK_ERROR_OUT_OF_DEVICE_MEMORY|WebGPU device error\(2\)",
        "out of memory",
        "Vulkan, VkResult -2; onnxruntime webgpu_context.cc, issue 25195",
    ),
    _text(r"bad_alloc|bad allocation", "out of memory", "the C++ library: the host's memory"),
    # Which of these are memory in disguise only onnxruntime's log tells.
    _text(
        r"CUDNN_FE failure \d+",
        "device failed",
        "cudnn-frontend, error_code_t: 8 and 11 may have been memory, and may not",
    ),
    _text(r"(?:CUDA|CUDNN|CUBLAS|CUFFT) (?:failure|error)\b", "device failed", "onnxruntime cuda_call.cc"),
    _text(r"\bout of memory\b", "out of memory", f"{_RUNTIME_API}: text of 2, from whichever library"),
)


def meaning_of(text: str, total_bytes: int | None = None) -> Meaning | None:
    """What a text means; None if no row of the table knows it.

    Parameters
    ----------
    text : str
        Of an exception.
    total_bytes : int, optional
        What the device has in all: no larger size is demand.
    """
    for row in TEXTS:
        found = row.pattern.search(text)
        if found is None:
            continue
        numbers = {name: int(number) for name, number in found.groupdict().items() if number is not None}
        asked, left = numbers.get("asked"), numbers.get("left")
        if asked is not None and total_bytes is not None and asked > total_bytes:
            return Meaning("nonsense size", asked, left)
        return Meaning(row.kind, asked, left)
    return None
