"""Devices: the emulated one's ledger, and each way in which CUDA is refused or found.

CUDA's driver and NVML are stood in for by small fakes: they show which device is asked for, and what a user
is told. That a session really runs there can only be tried on a machine with a GPU.
"""

import ctypes
import os
import threading
import types
import uuid

import onnxruntime
import pynvml
import pytest

from vramlab.config.errors import InputError
from vramlab.live import cuda, nvml
from vramlab.live.cores import usable_cores
from vramlab.live.cuda import CudaDevice
from vramlab.live.device_facts import Demand
from vramlab.live.devices import choose_device, describe
from vramlab.live.emulated import CpuEmulatedDevice
from vramlab.live.errors import OutOfMemory, OwnLimit

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


# -- emulated ----------------------------------------------------------------------------------------------


def test_the_ledger_of_the_emulated_device():
    device = CpuEmulatedDevice(1000, overhead_bytes=100)
    device.admit(600, "a")
    memory = device.memory()
    assert (memory.total_bytes, memory.used_bytes, memory.available_bytes) == (1100, 700, 400)
    with pytest.raises(OutOfMemory, match=r"^b: Failed to allocate memory .* 401, 400 bytes are free"):
        device.admit(401, "b")
    assert device.memory().used_bytes == 700
    device.admit(400, "c")
    device.give_back(600)
    device.give_back(400)
    assert device.memory().used_bytes == 100
    with pytest.raises(ValueError, match="1 bytes given back, 0 are charged"):
        device.give_back(1)


def test_memory_lost_to_another_process():
    device = CpuEmulatedDevice(1000)
    device.admit(300, "a")
    device.lose(800)
    assert device.memory().used_bytes == 1100  # over its head, as a driver that pages would say
    assert device.memory().available_bytes == 0
    with pytest.raises(OutOfMemory, match="0 bytes are free"):
        device.admit(1, "b")
    device.lose(-800)
    device.admit(700, "b")


def test_charges_from_many_threads_never_pass_the_budget():
    device = CpuEmulatedDevice(1000)
    outcomes = []

    def charge():
        try:
            device.admit(300, "x")
            outcomes.append(True)
        except OutOfMemory:
            outcomes.append(False)

    threads = [threading.Thread(target=charge) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 3
    assert device.memory().used_bytes == 900


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(InputError, match="device: budget: found 0 bytes, expected more than 0"):
        CpuEmulatedDevice(0)


def test_the_environment_says_what_it_ran_on():
    found = describe(CpuEmulatedDevice(1000, 10))
    assert found["device"] == "cpu-emulated"
    assert found["onnxruntime"] == onnxruntime.__version__
    assert found["cpu_count"] == (len(usable_cores()) or os.cpu_count())


# -- choosing ----------------------------------------------------------------------------------------------


def test_an_unknown_kind_of_device():
    with pytest.raises(InputError, match=r"found 'cud', expected one of .* \(did you mean 'cuda'\?\)"):
        choose_device("cud", budget_bytes=1)


def test_auto_falls_back_and_cuda_does_not(monkeypatch):
    def refuse(self, index=0, *settings):
        raise InputError("device", "cuda", "nothing", "something")

    monkeypatch.setattr(CudaDevice, "__init__", refuse)
    assert choose_device("auto", budget_bytes=7, overhead_bytes=3).memory().total_bytes == 10
    with pytest.raises(InputError):
        choose_device("cuda", budget_bytes=7)


def test_another_gpu_is_named_by_its_index(monkeypatch):
    monkeypatch.setattr(CudaDevice, "__init__", lambda self, index=0, *_: setattr(self, "index", index))
    monkeypatch.setattr(CudaDevice, "check", lambda self: None)
    assert choose_device("cuda", budget_bytes=1).index == 0
    assert choose_device("cuda:1", budget_bytes=1).index == 1
    for wrong in ("cuda:", "cuda:x", "cuda:-1", "auto:1", "cpu-emulated:0"):
        with pytest.raises(InputError, match="cuda:1"):
            choose_device(wrong, budget_bytes=1)


def _has_gpu():
    try:
        CudaDevice()
    except InputError:
        return False
    return True


@pytest.mark.skipif(_has_gpu(), reason="this machine has a GPU")
def test_cuda_is_refused_in_one_line_on_a_machine_without():
    with pytest.raises(
        InputError, match=r"^device: cuda: found .*, expected .* \(or use cpu-emulated\)$"
    ) as caught:
        choose_device("cuda", budget_bytes=1)
    assert "\n" not in str(caught.value)
    assert choose_device("auto", budget_bytes=1).label == "cpu-emulated"


@pytest.mark.skipif(not _has_gpu(), reason="needs a GPU")
def test_cuda_runs_where_there_is_a_gpu():
    device = CudaDevice()
    device.check()
    memory = device.memory()
    assert 0 < memory.used_bytes <= memory.total_bytes


# -- CUDA, with fakes ----------------------------------------------------------------------------------------


class Driver:
    """libcuda with two GPUs."""

    def __init__(self, result=0, version=13000, uuids=(SECOND, FIRST)):
        self.result, self.version, self.uuids = result, version, uuids

    def cuDriverGetVersion(self, version):  # noqa: N802
        version._obj.value = self.version
        return 0

    def cuInit(self, flags):  # noqa: N802
        return self.result

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.uuids)
        return 0

    def cuDeviceGet(self, device, ordinal):  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetUuid_v2(self, raw, device):  # noqa: N802
        ctypes.memmove(raw, self.uuids[device.value].bytes, 16)
        return 0


@pytest.fixture
def machine(monkeypatch):
    """A machine with two GPUs, of which CUDA calls the second 0; tests change what they need to."""
    said = types.SimpleNamespace(driver=Driver(), processes=[], known={f"GPU-{FIRST}", f"GPU-{SECOND}"})

    def handle(name):
        if name not in said.known:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return name

    def memory(handle):
        return types.SimpleNamespace(total=1000, used=300, free=700)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda.PROVIDER])
    monkeypatch.setattr(cuda, "_built_for_cuda", lambda: "13.0")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: said.driver)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", handle)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: "a GPU")
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.1")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: said.processes)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return said


def test_nvml_is_asked_for_the_device_that_cuda_counts(machine):
    assert CudaDevice(0)._gpu.handle == f"GPU-{SECOND}"
    assert CudaDevice(1)._gpu.handle == f"GPU-{FIRST}"
    assert CudaDevice(1).label == "cuda:1"
    assert CudaDevice(1).arena == "gpu:1"
    assert describe(CudaDevice(0))["gpu"] == "a GPU"


def test_a_part_of_a_gpu_has_a_uuid_of_another_kind(machine):
    machine.known = {f"MIG-{SECOND}"}
    assert CudaDevice(0)._gpu.handle == f"MIG-{SECOND}"


def test_this_process_is_told_from_others(machine):
    device = CudaDevice(0)
    memory = device.memory()
    assert (memory.process_bytes, memory.others_bytes) == (None, None)  # an empty list says nothing
    other = types.SimpleNamespace(pid=os.getpid() + 1, usedGpuMemory=200)
    ours = types.SimpleNamespace(pid=os.getpid(), usedGpuMemory=100)
    machine.processes = [other, ours]
    memory = device.memory()
    assert (memory.total_bytes, memory.used_bytes, memory.available_bytes, memory.process_bytes) == (
        1000,
        300,
        700,
        100,
    )
    assert memory.others_bytes == 200
    ours.usedGpuMemory = None  # what Windows says
    assert device.memory().process_bytes is None
    machine.processes = [other]  # a container does not know its own number
    assert device.memory().process_bytes is None


def test_clocks_are_told_as_far_as_nvml_does(machine, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerState", lambda handle: 8)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetClockInfo", lambda handle, clock: 210 + clock)

    def unknown(handle, sensor):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTemperature", unknown)
    state = CudaDevice(0).state()
    assert state["power_state"] == 8
    assert {"sm_mhz", "memory_mhz"} <= set(state)
    assert "celsius" not in state


@pytest.mark.parametrize("under", ["", "WSL2", "Windows (WDDM)"])
def test_a_driver_that_may_spill_is_named_with_what_to_set(machine, monkeypatch, caplog, under):
    monkeypatch.setattr(nvml.Gpu, "spilling", lambda self: under)
    assert describe(CudaDevice(0))["driver_spills"] == under
    said = [record.getMessage() for record in caplog.records]
    assert bool(said) == bool(under)
    assert all(under in line and "Prefer No Sysmem Fallback" in line for line in said)


def test_one_kernel_of_windows_is_told_by_its_name(monkeypatch, tmp_path):
    version = tmp_path / "version"
    version.write_text("Linux version 6.6.87.2-microsoft-standard-WSL2")
    monkeypatch.setattr(nvml, "Path", lambda name: version)
    assert nvml._under_wsl()
    version.write_text("Linux version 6.1.0-amd64")
    assert not nvml._under_wsl()


def test_options_of_a_session(machine):
    device = CudaDevice(1)
    (name, options), second = device.providers(123)
    assert options["use_tf32"] == "0"
    assert CudaDevice(1, tf32=True).providers(None)[0][1]["use_tf32"] == "1"
    assert (name, second) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options["device_id"] == "1"
    assert options["gpu_mem_limit"] == "123"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert all(type(value) is str for value in options.values())
    assert "gpu_mem_limit" not in device.providers(None)[0][1]


def refusal(index=0):
    with pytest.raises(InputError) as caught:
        CudaDevice(index)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_provider_not_built_in(machine, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "without CUDAExecutionProvider, expected the onnxruntime-gpu package" in refusal()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "found no NVML"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "found no NVML"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "does not fit the kernel's driver"),
        (pynvml.NVML_ERROR_UNKNOWN, "an NVML that does not start"),
    ],
)
def test_nvml_that_does_not_start(machine, monkeypatch, code, words):
    def init():
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", init)
    assert words in refusal()


def test_no_driver_library(machine, monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert "found no CUDA driver" in refusal()


def test_a_driver_too_old(machine):
    machine.driver = Driver(version=12040)
    assert "found a driver for CUDA 12.4, expected one for CUDA 13.0" in refusal()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (100, "no visible GPU"),
        (34, "does not fit the kernel's driver (cuInit says 34)"),
        (803, "does not fit the kernel's driver (cuInit says 803)"),
        (999, "a CUDA driver that does not start (cuInit says 999)"),
    ],
)
def test_a_driver_that_does_not_start(machine, result, words):
    machine.driver = Driver(result=result)
    assert words in refusal()


def test_devices_that_are_hidden(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    machine.driver = Driver(uuids=(SECOND,))
    assert CudaDevice(0)._gpu.handle == f"GPU-{SECOND}"
    assert "index 1 and 1 visible GPUs with CUDA_VISIBLE_DEVICES=1" in refusal(1)


def test_memory_that_nvml_cannot_tell(machine, monkeypatch):
    def unsupported(handle):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", unsupported)
    assert "expected a GPU with memory of its own" in refusal()


@pytest.mark.skipif(
    cuda.PROVIDER not in onnxruntime.get_available_providers() or _has_gpu(),
    reason="needs onnxruntime-gpu on a machine without a GPU",
)
def test_a_provider_built_in_but_not_loadable(machine, monkeypatch, capfd):
    device = CudaDevice(0)
    monkeypatch.undo()  # from here on the real libraries
    with pytest.raises(
        InputError, match=r"found a CUDA provider that does not load \(.*\), expected its CUDA and"
    ):
        device.check()
    assert capfd.readouterr() == ("", "")


# -- places on CUDA ------------------------------------------------------------------------------------------


def ours(machine, taken_bytes):
    machine.processes = [types.SimpleNamespace(pid=os.getpid(), usedGpuMemory=taken_bytes)]


def test_a_limit_that_the_weights_have_passed_is_refused_after_the_load(machine):
    device = CudaDevice(0)
    ours(machine, 100)
    with pytest.raises(OwnLimit) as caught, device.placing(Demand(50, 20, 70), "loading m") as place:  # noqa: PT012
        assert place.providers[0][1]["gpu_mem_limit"] == "70"
        ours(machine, 180)
    assert caught.value.lacking_bytes == 10 + 20
    assert device.promised_bytes() == 0


def test_what_is_promised_and_taken_on_cuda(machine):
    device = CudaDevice(0)
    ours(machine, 100)
    assert device.taken_bytes() == 0  # context and libraries are no model's
    with device.placing(Demand(50, 20, 70), "loading m") as place:
        ours(machine, 150)
        assert (place.held_bytes(), device.taken_bytes(), device.promised_bytes()) == (50, 50, 70)
    place.leave()
    assert device.promised_bytes() == 0


def test_sessions_that_share_have_one_arena_of_the_budget_registered_once(machine, monkeypatch):
    registered = []
    monkeypatch.setattr(onnxruntime, "create_and_register_allocator_v2", lambda *a: registered.append(a))
    monkeypatch.setattr(CudaDevice, "_shared_arenas", set())
    device = CudaDevice(1, budget_bytes=500, shared_bytes=30)
    for _ in range(2):
        with device.placing(Demand(50, 20, 70), "loading m") as place:
            assert place.entries["session.use_env_allocators"] == "1"
            assert "gpu_mem_limit" not in place.providers[0][1]
    ((provider, _, options, _),) = registered
    assert (provider, options) == (cuda.PROVIDER, {"device_id": "1"})
    assert device.promised_bytes() == 50 + 50 + 30
