"""A GPU by way of WebGPU: AMD, Intel and Apple cards, driven by the package onnxruntime-webgpu.

WebGPU tells nobody how much memory a GPU has or has given. So memory is what the ledger says, as on the
emulated device: charges by footprint, under the configured budget. What the process takes is told too.

On a machine without a GPU a software renderer can take its place (``make webgpu``): answers are right, times
are no GPU's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import onnxruntime

from vramlab.config.errors import InputError
from vramlab.live.device_check import IMAGE, TRUE_ANSWER, a_conv
from vramlab.live.device_facts import Demand, DeviceMemory, Place, Providers
from vramlab.live.device_threads import DeviceThreads
from vramlab.live.heap import private_bytes, trim_heap
from vramlab.live.places import ChargedPlace, Ledger, SharedWorkspace

PROVIDER = "WebGpuExecutionProvider"
_PROVIDERS: Providers = [(PROVIDER, {}), "CPUExecutionProvider"]
_NEAR = 1e-4  # of a sum of four products


class WebGpuDevice:
    """The GPU that WebGPU gives this process; making one shows that a session runs there.

    Parameters
    ----------
    budget_bytes : int
        What all models together may take.
    overhead_bytes : int
        What counts as used before the first model, on top of the budget.
    shared_bytes : int, optional
        What all sessions have as their one workspace together; by default each has its own.

    Raises
    ------
    InputError
        If the provider is not built in, there is no adapter, or a session fails there.
    """

    label = "webgpu"
    arena = "cpu:0"  # buffers on the device are not an arena's
    emulated = False
    keeps_ledger = True
    distrusts = False
    has_arenas = False

    def __init__(self, budget_bytes: int, overhead_bytes: int = 0, shared_bytes: int | None = None) -> None:
        if PROVIDER not in onnxruntime.get_available_providers():
            found = f"onnxruntime {onnxruntime.__version__} without {PROVIDER}"
            expected = "the package onnxruntime-webgpu, in an environment of its own"
            raise InputError("device", "webgpu", found, expected)
        self.budget_bytes, self.overhead_bytes = budget_bytes, overhead_bytes
        self.threads: DeviceThreads | None = DeviceThreads(self.label)
        self._ledger = Ledger(budget_bytes, self.label)
        self._shared = None if shared_bytes is None else SharedWorkspace(self._ledger, shared_bytes)
        thread = self.threads.assign()
        try:
            thread.do(_check)
        finally:
            self.threads.release(thread)

    def memory(self) -> DeviceMemory:
        """Read the ledger; what others have is not known."""
        used = self.overhead_bytes + self._ledger.charged_bytes
        total = self.budget_bytes + self.overhead_bytes
        return DeviceMemory(total, used, max(0, total - used), private_bytes())

    def placing(self, demand: Demand, doing: str) -> AbstractContextManager[Place]:
        """Charge the weights; the ledger keeps the limit."""
        entries = {"session.record_ep_graph_assignment_info": "1"}
        return ChargedPlace(self._ledger, demand, self._shared, _PROVIDERS, entries).entered(doing)

    def promised_bytes(self) -> int:
        """Weights and workspaces of all sessions."""
        return self._ledger.promised_bytes

    def taken_bytes(self) -> int | None:
        """What was charged."""
        return self._ledger.charged_bytes

    def trim(self) -> None:
        """Hand freed memory of the process back."""
        trim_heap()

    def state(self) -> dict[str, int]:
        """WebGPU tells nothing of clocks."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Label and budget."""
        return {
            "device": self.label,
            "budget_bytes": self.budget_bytes,
            "overhead_bytes": self.overhead_bytes,
        }


def _check() -> None:
    """Run a tiny session with a Conv; raises InputError if it fails or runs elsewhere."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    expected = "a GPU with a driver for Vulkan, Metal or Direct3D 12 (or use cpu-emulated)"
    try:
        session = onnxruntime.InferenceSession(a_conv(), options, providers=_PROVIDERS, enable_fallback=0)
        outputs = session.run(None, {"x": IMAGE})
    except Exception as error:  # onnxruntime's exceptions have no base of their own
        found = f"a session that fails there ({' '.join(str(error).split())[-200:]})"
        raise InputError("device", "webgpu", found, expected) from error
    if PROVIDER not in session.get_providers():
        raise InputError("device", "webgpu", "a provider that does not load", expected)
    if not np.allclose(outputs[0], TRUE_ANSWER, atol=_NEAR):
        raise InputError("device", "webgpu", "a session that computes wrongly there", "a GPU that works")
