"""How much a machine's speed drifted between two profiles."""

import pytest

from vramlab.experiments.fidelity import drift
from vramlab.runs.samples import Sample, samples_frame


def profiled(*seconds):
    names = ("a", "b", "c")
    samples = [Sample(name, "gpu", "infer", 1, s, 0.03) for name, s in zip(names, seconds, strict=True)]
    samples += [
        Sample("a", "gpu", "infer", 1, 99.0, 0.03, "load on gpu"),
        Sample("a", "gpu", "load", 1, 99.0),
    ]
    return samples_frame(samples, {})


def test_drift_is_the_median_of_the_models():
    before = profiled(0.001, 0.010, 0.002)
    assert drift(before, profiled(0.0012, 0.011, 0.008)) == pytest.approx(0.2)
    assert drift(before, profiled(0.0008, 0.009, 0.001)) == pytest.approx(-0.2)
    assert drift(before, before) == 0.0
