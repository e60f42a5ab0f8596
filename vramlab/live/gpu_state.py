"""What a profile says of a GPU beside times: clocks, how it wakes up after silence, what it leaves out.

A GPU that had nothing to do for some seconds runs at lower clocks, and its next run takes several times as
long (onnxruntime issues 5870, 16135, 23461). That is the device's doing and not the model's, so it is
measured on one model, up to 20 s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vramlab.engine.effects import Target
from vramlab.live.hops import Hop, timed_run
from vramlab.live.onnx_sessions import Session
from vramlab.live.values import Feeds
from vramlab.runs.samples import Sample

LONG_PAUSES_S = (1.0, 5.0, 20.0)
AFTER_SILENCE = "infer after silence"
_ROUNDS = 2
_SLOWER = 1.5


async def after_silence(
    hop: Hop, name: str, session: Session, inputs: Feeds, pauses_s: Sequence[float] = LONG_PAUSES_S
) -> list[Sample]:
    """Time runs of a model after the device did nothing for so long; the first time is after none."""
    samples = []
    for pause_s in (0.0, *pauses_s) * _ROUNDS:
        seconds = await timed_run(hop, session, inputs, pause_s)
        samples.append(Sample(name, Target.GPU.value, AFTER_SILENCE, 1, seconds, pause_s))
    return samples


def silence_flags(samples: Sequence[Sample]) -> list[str]:
    """Say after how long a silence a run takes much longer, in words."""
    own = [sample for sample in samples if sample.what == AFTER_SILENCE]
    least_s = {
        pause_s: min(sample.seconds for sample in own if sample.pause_s == pause_s)
        for pause_s in sorted({sample.pause_s for sample in own})
    }
    if not least_s or not least_s.get(0.0):
        return []
    return [
        f"after {pause_s:g} s of silence a run takes {seconds / least_s[0.0]:.1f} times as long"
        for pause_s, seconds in least_s.items()
        if pause_s and seconds > _SLOWER * least_s[0.0]
    ]


def placement_flags(session: Session) -> list[str]:
    """Say how many nodes of a model run on the CPU, in words."""
    if not session.cpu_nodes:
        return []
    kinds = Counter(session.cpu_nodes).most_common(3)
    named = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return [f"{len(session.cpu_nodes)} of its nodes run on the CPU ({named})"]
