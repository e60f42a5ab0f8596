"""A CUDA device: which one it is, what NVML says of its memory, and whether onnxruntime can use it.

CUDA and NVML count the same GPUs differently. ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` decide what
CUDA, and so onnxruntime's ``device_id``, calls 0; NVML counts all GPUs by PCI bus. So the driver is asked for
the UUID of "our" device, and NVML for the device of that UUID.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pynvml
from onnx import TensorProto, helper

from vramlab.config.errors import InputError
from vramlab.live.device_facts import DeviceMemory, Providers
from vramlab.live.graphs import IR_VERSION, OPSET

PROVIDER = "CUDAExecutionProvider"

_log = logging.getLogger(__name__)

# CUresult values (cuda.h) that mean something a user can act on.
_NO_DEVICE, _STUB_LIBRARY, _DRIVER_MISMATCH = 100, 34, 803


class CudaDevice:
    """One CUDA device, by its index among those that are visible to this process.

    Making one asks the driver and NVML only; :meth:`check` shows that onnxruntime can run there.

    Parameters
    ----------
    index : int
        As onnxruntime's ``device_id`` counts.

    Raises
    ------
    InputError
        If it cannot be had: provider not built in, NVML or driver absent, versions that do not fit together,
        no such device.
    """

    keeps_ledger = False

    def __init__(self, index: int = 0) -> None:
        if PROVIDER not in onnxruntime.get_available_providers():
            found = f"onnxruntime {onnxruntime.__version__} without {PROVIDER}"
            raise _refusal(found, "the onnxruntime-gpu package in place of onnxruntime")
        _start_nvml()
        uuids = visible_uuids()
        if not 0 <= index < len(uuids):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            where = f" with CUDA_VISIBLE_DEVICES={visible}" if visible is not None else ""
            raise _refusal(
                f"index {index} and {len(uuids)} visible GPUs{where}", "the index of a visible GPU"
            )
        self.index = index
        self.label = f"cuda:{index}"
        self.arena = f"gpu:{index}"
        self._handle = _nvml_handle(uuids[index])
        self.name = _nvml_text(pynvml.nvmlDeviceGetName(self._handle))
        self.memory()

    def memory(self) -> DeviceMemory:
        """Read NVML: the whole device, and this process's part where the driver tells processes apart.

        It does not on Windows' display driver model, nor in a container with process ids of its own.

        Raises
        ------
        InputError
            If the device has no memory of its own that NVML could tell.
        """
        try:
            info = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        except pynvml.NVMLError as error:
            raise _refusal(
                f"no memory reading from NVML ({error})", "a GPU with memory of its own"
            ) from error
        return DeviceMemory(int(info.total), int(info.used), int(info.free), self._process_bytes())

    def _process_bytes(self) -> int | None:
        try:
            processes = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except pynvml.NVMLError as error:
            _log.debug("NVML does not list processes: %s", error)
            return None
        if not processes:
            return 0  # nobody has a context yet, so neither have we
        ours = [process.usedGpuMemory for process in processes if process.pid == os.getpid()]
        return int(ours[0]) if ours and ours[0] is not None else None

    def providers(self, limit_bytes: int | None) -> Providers:
        """CUDA first; the CPU only for the few operators that CUDA lacks.

        The options keep memory predictable: the arena grows by what is asked for rather than by doubling, and
        cuDNN picks its algorithms without trying all of them and without its largest workspaces.
        """
        options = {
            "device_id": str(self.index),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "cudnn_conv_use_max_workspace": "0",
            "do_copy_in_default_stream": "1",
        }
        if limit_bytes is not None:
            options["gpu_mem_limit"] = str(limit_bytes)
        return [(PROVIDER, options), "CPUExecutionProvider"]

    def admit(self, size_bytes: int, what: str) -> None:
        """Nothing to do: the device itself refuses what it has no room for."""

    def give_back(self, size_bytes: int) -> None:
        """Nothing to do: the device itself knows."""

    def trim(self) -> None:
        """Nothing to do: arenas belong to sessions, whose runs can shrink them."""

    def describe(self) -> dict[str, Any]:
        """Label, name, memory and versions."""
        return {
            "device": self.label,
            "gpu": self.name,
            "total_bytes": self.memory().total_bytes,
            "driver": _nvml_text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda": _built_for_cuda(),
        }

    def check(self) -> None:
        """Run a tiny session on the device.

        Raises
        ------
        InputError
            If the provider cannot be loaded, or the session runs elsewhere or fails; the line says why.
        """
        _preload_libraries()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.set_default_logger_severity(4)  # the reason goes into our own line
        try:
            session = onnxruntime.InferenceSession(
                _tiny_model(), options, providers=self.providers(None), enable_fallback=0
            )
            if PROVIDER not in session.get_providers():
                raise _refusal(f"a CUDA provider that does not load ({_load_error()})", _INSTALL)
            outputs = session.run(None, {"x": np.ones((1, 4), np.float32)})
        except InputError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            first_line = str(error).strip().splitlines()[0]
            raise _refusal(f"a session that fails there ({first_line})", _INSTALL) from error
        finally:
            onnxruntime.set_default_logger_severity(2)
        if not np.array_equal(outputs[0], np.full((1, 4), 4, np.float32)):
            raise _refusal("a session that computes wrongly there", "a GPU that works")


_INSTALL = "its CUDA and cuDNN libraries: pip install 'vramlab[cuda]'"


def visible_uuids() -> list[str]:
    """UUIDs of the devices that this process sees, in CUDA's order.

    Raises
    ------
    InputError
        If there is no driver, it does not answer, or it is too old for what onnxruntime was built with.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        raise _refusal(f"no CUDA driver ({error})", "an NVIDIA driver") from error
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    supports, built_for = version.value // 1000, _built_for_cuda()
    if built_for and supports and supports < int(built_for.split(".")[0]):
        found = f"a driver for CUDA {supports}.{version.value % 1000 // 10}"
        raise _refusal(
            found, f"one for CUDA {built_for}, which onnxruntime was built with: update the driver"
        )
    result = driver.cuInit(0)
    if result == _NO_DEVICE:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        where = f" with CUDA_VISIBLE_DEVICES={visible!r}" if visible is not None else ""
        raise _refusal(f"no visible GPU{where}", "at least one")
    if result in (_STUB_LIBRARY, _DRIVER_MISMATCH):
        found = f"a CUDA library that does not fit the kernel's driver (cuInit says {result})"
        raise _refusal(found, "both of one version: restart after an update of the driver")
    if result:
        raise _refusal(f"a CUDA driver that does not start (cuInit says {result})", "one that works")
    count = ctypes.c_int()
    _driver_call(driver.cuDeviceGetCount, ctypes.byref(count))
    uuids = []
    for ordinal in range(count.value):
        device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
        _driver_call(driver.cuDeviceGet, ctypes.byref(device), ordinal)
        _driver_call(driver.cuDeviceGetUuid_v2, raw, device)
        uuids.append(str(uuid.UUID(bytes=bytes(raw))))
    return uuids


def _driver_call(function: Any, *arguments: Any) -> None:
    result = function(*arguments)
    if result:
        raise _refusal(f"a CUDA driver that answers {function.__name__} with {result}", "one that works")


def _start_nvml() -> None:
    """Start NVML; it counts its users, and stays for the life of the process."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if isinstance(error, pynvml.NVMLError_LibRmVersionMismatch):
            found = f"an NVML library that does not fit the kernel's driver ({error})"
            raise _refusal(found, "both of one version: restart after an update of the driver") from error
        if isinstance(error, (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)):
            raise _refusal(f"no NVML ({error})", "an NVIDIA driver, which brings it") from error
        raise _refusal(f"an NVML that does not start ({error})", "one that works") from error


def _nvml_handle(device_uuid: str) -> Any:
    """NVML's handle of the GPU, or of the part of a GPU, with that UUID."""
    for prefix in ("GPU-", "MIG-"):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            return pynvml.nvmlDeviceGetHandleByUUID(prefix + device_uuid)
    raise _refusal(f"no GPU {device_uuid} in NVML", "the same devices in NVML as in CUDA")


def _nvml_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # bytes before nvidia-ml-py 12


def _refusal(found: str, expected: str) -> InputError:
    return InputError("device", "cuda", found, f"{expected} (or use cpu-emulated)")


def _built_for_cuda() -> str:
    """CUDA version that onnxruntime was built with, such as ``13.0``; empty where it does not say."""
    try:
        from onnxruntime.capi.build_and_package_info import cuda_version
    except ImportError:
        return ""
    return str(cuda_version)


def _preload_libraries() -> None:
    """Load CUDA and cuDNN from their wheels; what is missing shows when the provider does not load."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints, and standard output is for results
        onnxruntime.preload_dlls()
    if said.getvalue():
        _log.debug("onnxruntime.preload_dlls: %s", said.getvalue().strip())


def _load_error() -> str:
    """Why the provider's library does not load, which onnxruntime only logs."""
    name = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    path = Path(onnxruntime.__file__).parent / "capi" / name
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error).replace(str(path), name)
    return "onnxruntime does not say why"


def _tiny_model() -> bytes:
    """A model that multiplies an input of shape (n, 4) by four, by doubling it twice."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Add", ["twice", "twice"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "tiny", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
