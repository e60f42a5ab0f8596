"""Importing a few lines, for tests: what came in, or what was said."""

import pytest

from vramlab.config.errors import InputError
from vramlab.traces.importers import ImportOptions, make_importer

WHEN = {"time": "when", "model": "net"}


def written(tmp_path, content, name="calls.csv"):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8", newline="")
    return path


def imported(tmp_path, content, kind="csv", name="calls.csv", **options):
    trace, report = make_importer(kind)(written(tmp_path, content, name), ImportOptions(**options))
    return trace.times_s.tolist(), trace.frame["model"].tolist(), report


def refusal(tmp_path, content, kind="csv", name="calls.csv", **options):
    with pytest.raises(InputError) as caught:
        imported(tmp_path, content, kind, name, **options)
    return str(caught.value).removeprefix(f"{tmp_path / name}: ")
