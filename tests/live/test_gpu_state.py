"""What a profile says of a GPU beside times."""

import asyncio
import time

import pytest

from vramlab.live.cores import Cores
from vramlab.live.gpu_state import AFTER_SILENCE, after_silence, placement_flags, silence_flags
from vramlab.live.hops import Hops
from vramlab.runs.samples import Sample


class Sleepy:
    """A session whose device takes twenty times as long after some silence."""

    cpu_nodes, taken_bytes, identity, axis = None, None, (), None

    def __init__(self):
        self.last_s = time.perf_counter()

    def run(self, inputs):
        quiet_s = time.perf_counter() - self.last_s
        time.sleep(0.04 if quiet_s > 0.1 else 0.002)
        self.last_s = time.perf_counter()

    def close(self):
        pass


def test_a_device_that_falls_asleep_is_noticed():
    async def main():
        hops = Hops(Cores())
        try:
            return await after_silence(hops.of("infer", None), "m", Sleepy(), {}, pauses_s=(0.01, 0.15))
        finally:
            hops.close()

    samples = asyncio.run(main())
    assert sorted({sample.pause_s for sample in samples}) == [0.0, 0.01, 0.15]
    assert any(flag.startswith("after 0.15 s of silence a run takes ") for flag in silence_flags(samples))


def test_a_device_that_does_not_is_not():
    assert silence_flags([Sample("m", "gpu", AFTER_SILENCE, 1, 0.01, pause) for pause in (0.0, 1.0)]) == []
    assert silence_flags([]) == []


@pytest.mark.parametrize(
    ("nodes", "flags"),
    [
        (None, []),
        ([], []),
        (
            ["Shape", "NonZero", "Shape"],
            ["3 of its nodes run on the CPU (2 Shape, 1 NonZero)"],
        ),
    ],
)
def test_nodes_on_the_cpu_are_counted(nodes, flags):
    session = Sleepy()
    session.cpu_nodes = nodes
    assert placement_flags(session) == flags
