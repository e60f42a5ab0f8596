"""What NVML says of one GPU: memory, whose it is, and how fast the GPU runs at the moment.

What NVML does not tell is unknown, and None; never zero. It tells processes apart neither under Windows'
display driver model nor under WSL2, and in a container it has other process ids than we see: a list in which
we do not find ourselves says nothing of anybody.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pynvml

from vramlab.config.errors import InputError
from vramlab.live.device_facts import DeviceMemory

_log = logging.getLogger(__name__)
_MHZ = {"sm_mhz": pynvml.NVML_CLOCK_SM, "memory_mhz": pynvml.NVML_CLOCK_MEM}
SPILLS = (
    "%s: the driver may move GPU memory to the system's instead of failing, so that models get slow where "
    "they should not have been loaded. In the NVIDIA control panel, under Manage 3D settings, set "
    "'CUDA - Sysmem Fallback Policy' to 'Prefer No Sysmem Fallback'. The driver does not list processes "
    "either: memory that others take is not told from ours"
)


def refusal(found: str, expected: str) -> InputError:
    """Why a CUDA device is not to be had."""
    return InputError("device", "cuda", found, f"{expected} (or use cpu-emulated)")


def start_nvml() -> None:
    """Start NVML; it counts its users, and stays for the life of the process."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if isinstance(error, pynvml.NVMLError_LibRmVersionMismatch):
            found = f"an NVML library that does not fit the kernel's driver ({error})"
            raise refusal(found, "both of one version: restart after an update of the driver") from error
        if isinstance(error, (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded)):
            raise refusal(f"no NVML ({error})", "an NVIDIA driver, which brings it") from error
        raise refusal(f"an NVML that does not start ({error})", "one that works") from error


class Gpu:
    """A GPU, or a part of one, by its UUID.

    Raises
    ------
    InputError
        If NVML does not know it.
    """

    def __init__(self, device_uuid: str) -> None:
        self.handle = _handle_of(device_uuid)
        self.name = _text(pynvml.nvmlDeviceGetName(self.handle))

    def memory(self) -> DeviceMemory:
        """Read the memory.

        Raises
        ------
        InputError
            If the device has no memory of its own that NVML could tell.
        """
        try:
            info = pynvml.nvmlDeviceGetMemoryInfo(self.handle)
        except pynvml.NVMLError as error:
            found = f"no memory reading from NVML ({error})"
            raise refusal(found, "a GPU with memory of its own") from error
        ours, others = self._shares()
        return DeviceMemory(int(info.total), int(info.used), int(info.free), ours, others)

    def _shares(self) -> tuple[int | None, int | None]:
        """What this process and all others take; None where it is not known."""
        try:
            processes = pynvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
        except pynvml.NVMLError as error:
            _log.debug("NVML does not list processes: %s", error)
            return None, None
        sizes = {process.pid: process.usedGpuMemory for process in processes}
        ours = sizes.pop(os.getpid(), None)
        if ours is None or None in sizes.values():
            return (None if ours is None else int(ours)), None
        return int(ours), int(sum(sizes.values()))

    def state(self) -> dict[str, int]:
        """Power state (0 is the fastest), clocks in MHz and temperature in °C, as far as they are told."""
        found: dict[str, int] = {}
        with contextlib.suppress(pynvml.NVMLError):
            found["power_state"] = int(pynvml.nvmlDeviceGetPowerState(self.handle))
        for name, clock in _MHZ.items():
            with contextlib.suppress(pynvml.NVMLError):
                found[name] = int(pynvml.nvmlDeviceGetClockInfo(self.handle, clock))
        with contextlib.suppress(pynvml.NVMLError):
            found["celsius"] = int(pynvml.nvmlDeviceGetTemperature(self.handle, pynvml.NVML_TEMPERATURE_GPU))
        return found

    def spilling(self) -> str:
        """Under what the driver may use the system's memory instead of failing; empty where it does not."""
        if _under_wsl():
            return "WSL2"
        if sys.platform != "win32":
            return ""
        with contextlib.suppress(pynvml.NVMLError):
            if pynvml.nvmlDeviceGetCurrentDriverModel(self.handle) != pynvml.NVML_DRIVER_WDDM:
                return ""
        return "Windows (WDDM)"

    def driver(self) -> str:
        """The driver's version."""
        return _text(pynvml.nvmlSystemGetDriverVersion())


def _under_wsl() -> bool:
    version = Path("/proc/version")
    return version.is_file() and "microsoft" in version.read_text(errors="replace").lower()


def _handle_of(device_uuid: str) -> Any:
    """NVML's handle of the GPU, or of the part of a GPU, with that UUID."""
    for prefix in ("GPU-", "MIG-"):
        with contextlib.suppress(pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
            return pynvml.nvmlDeviceGetHandleByUUID(prefix + device_uuid)
    raise refusal(f"no GPU {device_uuid} in NVML", "the same devices in NVML as in CUDA")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # bytes before nvidia-ml-py 12
