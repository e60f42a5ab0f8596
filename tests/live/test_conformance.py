"""A sample of the ONNX project's own cases through one live runtime (``make conformance`` plays all)."""

import warnings

from .conformance import cases, compare


def test_answers_are_those_of_plain_onnxruntime(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cases that are made: casts that overflow on purpose
        some = cases(tmp_path)
    assert len(some) > 1000
    counts, wrong = compare(some[::8])
    assert wrong == []
    assert counts["equal"] > len(some[::8]) // 2
