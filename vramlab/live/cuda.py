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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from vramlab.config.errors import InputError
from vramlab.live.device_check import IMAGE, TRUE_ANSWER, a_conv
from vramlab.live.device_facts import Demand, DeviceMemory, Place, Providers
from vramlab.live.device_threads import DeviceThreads
from vramlab.live.errors import OwnLimit
from vramlab.live.nvml import SPILLS, Gpu, refusal, start_nvml
from vramlab.live.places import ChargedPlace, Ledger, SharedWorkspace

PROVIDER = "CUDAExecutionProvider"

_log = logging.getLogger(__name__)

# CUresult values (cuda.h) that mean something a user can act on.
_NO_DEVICE, _STUB_LIBRARY, _DRIVER_MISMATCH = 100, 34, 803
_ENDLESS = 1 << 62  # the device itself refuses what it has no room for


class CudaDevice:
    """One CUDA device, by its index among those that are visible to this process.

    Making one asks the driver and NVML only; :meth:`check` shows that onnxruntime can run there.

    Parameters
    ----------
    index : int
        As onnxruntime's ``device_id`` counts.
    budget_bytes : int, optional
        What all models together may take: the size of a shared arena.
    shared_bytes : int, optional
        What all sessions have as their one workspace together, in one arena; by default each has its own.
    streams : int
        Threads that sessions are shared out to.
    tf32 : bool
        Whether products of single precision may be made with fewer digits, which is faster: answers differ
        by about 1e-3 from the CPU's then.

    Raises
    ------
    InputError
        If it cannot be had: provider not built in, NVML or driver absent, versions that do not fit together,
        no such device.
    """

    emulated = False
    keeps_ledger = False
    has_arenas = True
    distrusts = True  # the plan that a Conv keeps may be stale after memory ran out
    _shared_arenas: set[tuple[int, int | None]] = set()  # noqa: RUF012  # of the process, by index and size

    def __init__(
        self,
        index: int = 0,
        budget_bytes: int | None = None,
        shared_bytes: int | None = None,
        streams: int = 1,
        tf32: bool = False,
    ) -> None:
        if PROVIDER not in onnxruntime.get_available_providers():
            found = f"onnxruntime {onnxruntime.__version__} without {PROVIDER}"
            raise refusal(found, "the onnxruntime-gpu package in place of onnxruntime")
        start_nvml()
        uuids = visible_uuids()
        if not 0 <= index < len(uuids):
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            where = f" with CUDA_VISIBLE_DEVICES={visible}" if visible is not None else ""
            raise refusal(f"index {index} and {len(uuids)} visible GPUs{where}", "the index of a visible GPU")
        self.index = index
        self.label = f"cuda:{index}"
        self.arena = f"gpu:{index}"
        self.tf32 = tf32
        self.threads: DeviceThreads | None = DeviceThreads(self.label, streams)
        self._gpu = Gpu(uuids[index])
        self.name = self._gpu.name
        self._budget_bytes = budget_bytes
        self._ledger = Ledger(_ENDLESS, self.label)
        self._shared = None if shared_bytes is None else SharedWorkspace(self._ledger, shared_bytes)
        self._before_bytes: int | None = None  # this process's own, before the first model
        self.memory()
        under = self._gpu.spilling()
        if under:
            _log.warning(SPILLS, under)

    def memory(self) -> DeviceMemory:
        """Read NVML: the whole device, and the parts of this process and of others where it tells them apart.

        Raises
        ------
        InputError
            If the device has no memory of its own that NVML could tell.
        """
        return self._gpu.memory()

    def providers(self, limit_bytes: int | None) -> Providers:
        """CUDA first; the CPU only for the few operators that CUDA lacks.

        The options keep memory predictable: the arena grows by what is asked for rather than by doubling, and
        cuDNN picks its algorithms without trying all of them.
        """
        options = {
            "device_id": str(self.index),
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "do_copy_in_default_stream": "1",
            "use_tf32": str(int(self.tf32)),
        }
        if limit_bytes is not None:
            options["gpu_mem_limit"] = str(limit_bytes)
        return [(PROVIDER, options), "CPUExecutionProvider"]

    @contextmanager
    def placing(self, demand: Demand, doing: str) -> Iterator[Place]:
        """Give the session an arena with a limit, or the one that all share; the device refuses by itself."""
        if self._shared is None:
            providers, entries = self.providers(demand.limit_bytes), {}
        else:
            self._register_arena()
            self._make_room(demand.weights_bytes)
            providers, entries = self.providers(None), {"session.use_env_allocators": "1"}
        entries["session.record_ep_graph_assignment_info"] = "1"
        charges = ChargedPlace(self._ledger, demand, self._shared, providers, entries)
        with charges.entered(doing):
            place = _MeasuredPlace(self, charges)
            yield place
            place.check_limit(demand, doing)

    def _register_arena(self) -> None:
        """Register the arena that all sessions share, once in the process."""
        key = self.index, self._budget_bytes
        if key in self._shared_arenas:
            return
        where = onnxruntime.OrtMemoryInfo(
            "Cuda",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            self.index,
            onnxruntime.OrtMemType.DEFAULT,
        )
        settings = {"max_mem": self._budget_bytes or 0, "arena_extend_strategy": 1}
        onnxruntime.create_and_register_allocator_v2(
            PROVIDER, where, {"device_id": str(self.index)}, onnxruntime.OrtArenaCfg(settings)
        )
        self._shared_arenas.add(key)

    def _make_room(self, weights_bytes: int) -> None:
        """Give activations in the shared arena back where they lie in the way of weights."""
        if self.memory().available_bytes >= weights_bytes:
            return
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.use_env_allocators", "1")
        session = onnxruntime.InferenceSession(a_conv(), options, providers=self.providers(None))
        shrinking = onnxruntime.RunOptions()
        shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", self.arena)
        session.run(None, {"x": IMAGE}, shrinking)

    def promised_bytes(self) -> int:
        """Weights and workspaces of all sessions."""
        return self._ledger.promised_bytes

    def taken_bytes(self) -> int | None:
        """What this process has taken since the first look, which was before the first model."""
        ours = self.memory().process_bytes
        if ours is None:
            return None
        if self._before_bytes is None:
            self._before_bytes = ours
        return ours - self._before_bytes

    def trim(self) -> None:
        """Nothing to do: arenas belong to sessions, whose runs can shrink them."""

    def state(self) -> dict[str, int]:
        """Power state, clocks and temperature."""
        return self._gpu.state()

    def describe(self) -> dict[str, Any]:
        """Label, name, memory, settings and versions."""
        return {
            "device": self.label,
            "gpu": self.name,
            "total_bytes": self.memory().total_bytes,
            "driver": self._gpu.driver(),
            "driver_spills": self._gpu.spilling(),
            "cuda": _built_for_cuda(),
            "tf32": self.tf32,
            "workspace": "own" if self._shared is None else "shared",
            **self.state(),
        }

    def check(self) -> None:
        """Run a tiny session with a Conv on the device.

        Raises
        ------
        InputError
            If the provider cannot be loaded, or the session runs elsewhere or fails; the line says why.
        """
        assert self.threads is not None
        thread = self.threads.assign()
        try:
            thread.do(self._check)
            self.taken_bytes()
        finally:
            self.threads.release(thread)

    def _check(self) -> None:
        _preload_libraries()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.set_default_logger_severity(4)  # the reason goes into our own line
        try:
            session = onnxruntime.InferenceSession(
                a_conv(), options, providers=self.providers(None), enable_fallback=0
            )
            if PROVIDER not in session.get_providers():
                raise refusal(f"a CUDA provider that does not load ({_load_error()})", _INSTALL)
            outputs = session.run(None, {"x": IMAGE})
        except InputError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            first_line = str(error).strip().splitlines()[0]
            raise refusal(f"a session that fails there ({first_line})", _INSTALL) from error
        finally:
            onnxruntime.set_default_logger_severity(2)
        if not np.array_equal(outputs[0], TRUE_ANSWER):
            raise refusal("a session that computes wrongly there", "a GPU that works")


class _MeasuredPlace:
    """The place of a session on CUDA: what it takes is the growth of this process's memory there."""

    def __init__(self, device: CudaDevice, charges: ChargedPlace) -> None:
        self._device = device
        self._before_bytes = device.memory().process_bytes
        self.providers, self.entries = charges.providers, charges.entries
        self.begin_run, self.end_run, self.leave = charges.begin_run, charges.end_run, charges.leave

    def held_bytes(self) -> int | None:
        now = self._device.memory().process_bytes
        return None if now is None or self._before_bytes is None else now - self._before_bytes

    def check_limit(self, demand: Demand, doing: str) -> None:
        """Refuse a limit below the weights: what was reserved beyond it wraps round to no limit at all.

        Raises
        ------
        OwnLimit
            If the session has more than its limit already.
        """
        held, limit = self.held_bytes(), demand.limit_bytes
        if held is None or limit is None or held < limit or "session.use_env_allocators" in self.entries:
            return
        short = OwnLimit(f"{doing}: its weights take {held} bytes, and its arena's limit is {limit}")
        short.lacking_bytes = held - limit + max(1, demand.workspace_bytes)
        raise short


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
        raise refusal(f"no CUDA driver ({error})", "an NVIDIA driver") from error
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    supports, built_for = version.value // 1000, _built_for_cuda()
    if built_for and supports and supports < int(built_for.split(".")[0]):
        found = f"a driver for CUDA {supports}.{version.value % 1000 // 10}"
        raise refusal(found, f"one for CUDA {built_for}, which onnxruntime was built with: update the driver")
    result = driver.cuInit(0)
    if result == _NO_DEVICE:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        where = f" with CUDA_VISIBLE_DEVICES={visible!r}" if visible is not None else ""
        raise refusal(f"no visible GPU{where}", "at least one")
    if result in (_STUB_LIBRARY, _DRIVER_MISMATCH):
        found = f"a CUDA library that does not fit the kernel's driver (cuInit says {result})"
        raise refusal(found, "both of one version: restart after an update of the driver")
    if result:
        raise refusal(f"a CUDA driver that does not start (cuInit says {result})", "one that works")
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
        raise refusal(f"a CUDA driver that answers {function.__name__} with {result}", "one that works")


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
