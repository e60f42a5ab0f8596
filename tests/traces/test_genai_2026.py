"""The importer of the GenAI 2026 trace: on a small file of our own, and on the real one where it is."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec, Priority
from vramlab.traces.importers.genai_2026 import ImportReport, genai_2026_inventory, import_genai_2026
from vramlab.traces.trace import Trace

REAL = Path(__file__).resolve().parents[3] / "shared/data/genai_2026_requests.csv.gz"
HEADER = (
    "gmt_create,predict_type,predict_status,exec_time_seconds,groupId,prompt_length,negative_prompt_length,"
    "num_images_per_prompt,num_inference_steps,checkpoint_model_version_id,num_lora"
)


def row(when="2024-11-15 16:57:50", group="G0", images="1.0", model="M0000"):
    return f"{when},TXT_2_IMG,SUCCEED,32.0,{group},63.0,,{images},30.0,{model},0"


def source(tmp_path, *rows, header=HEADER):
    path = tmp_path / "lora_request_trace.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_small_file(tmp_path):
    path = source(
        tmp_path,
        row("2024-11-15 16:57:40", model=""),
        row("2024-11-15 16:57:50", group="G1", images="4.0", model="M0002"),
        row("2024-11-15 16:57:50", group="", images=""),
        row("2024-11-16 16:57:51", model="M0002"),
    )
    trace, report = import_genai_2026(path)
    assert trace.times_s.tolist() == [0.0, 0.0, 86401.0]
    assert trace.frame["model"].tolist() == ["M0002", "M0000", "M0002"]
    assert trace.items.tolist() == [4, 1, 1]
    assert trace.requesters.tolist() == ["G1", None, "G0"]
    assert trace.source == str(path)
    assert report == ImportReport(rows_read=4, rows_kept=3, dropped={"no model": 1}, reordered=False)
    assert str(report) == "4 rows read, 3 requests kept\n1 dropped: no model"


def test_unordered_source_is_sorted_stably_and_said_so(tmp_path):
    path = source(
        tmp_path,
        row("2024-11-15 10:00:09", model="M1"),
        row("2024-11-15 10:00:05", model="M2"),
        row("2024-11-15 10:00:05", model="M3"),
    )
    trace, report = import_genai_2026(path)
    assert trace.times_s.tolist() == [0.0, 0.0, 4.0]
    assert trace.frame["model"].tolist() == ["M2", "M3", "M1"]
    assert report.reordered
    assert report.dropped == {}
    assert report.lines()[-1].startswith("the source was not in order of time")


BAD_ROWS = {
    "time": (
        row("yesterday"),
        "line 3 column gmt_create: found 'yesterday', expected a date such as 2024-11-15 16:57:50",
    ),
    "no time": (
        row(""),
        "line 3 column gmt_create: found nothing, expected a date such as 2024-11-15 16:57:50",
    ),
    "images": (
        row(images="0"),
        "line 3 column num_images_per_prompt: found '0', expected a whole number of at least 1, or nothing",
    ),
    "images text": (
        row(images="many"),
        "line 3 column num_images_per_prompt: found 'many', "
        "expected a whole number of at least 1, or nothing",
    ),
    "images fraction": (
        row(images="1.5"),
        "line 3 column num_images_per_prompt: found '1.5', expected a whole number of at least 1, or nothing",
    ),
    "images infinite": (
        row(images="inf"),
        "line 3 column num_images_per_prompt: found 'inf', expected a whole number of at least 1, or nothing",
    ),
}


@pytest.mark.parametrize(("bad", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_malformed_row_is_named(tmp_path, bad, message):
    path = source(tmp_path, row(), bad)
    with pytest.raises(InputError) as caught:
        import_genai_2026(path)
    assert str(caught.value) == f"{path}: {message} (--skip-bad-rows N drops up to N)"


def test_wrong_files(tmp_path):
    header = HEADER.replace("groupId", "group_id")
    path = source(tmp_path, row(), header=header)
    with pytest.raises(InputError) as caught:
        import_genai_2026(path)
    there = header.replace(",", ", ")
    message = f"column groupId: found only {there}, expected that column (did you mean 'group_id'?)"
    assert str(caught.value) == f"{path}: {message}"
    with pytest.raises(InputError, match="found no rows, expected at least one request"):
        import_genai_2026(source(tmp_path))
    with pytest.raises(InputError, match=r"found no request that can be kept \(1 no model\), expected"):
        import_genai_2026(source(tmp_path, row(model="")))
    with pytest.raises(InputError, match="no such file"):
        import_genai_2026(tmp_path / "none.csv")


def named(*models):
    return Trace.from_frame(pd.DataFrame({"time_s": np.arange(len(models)), "model": models}), "t.csv")


def test_inventory():
    inventory = genai_2026_inventory(named("M0010", "M0003", "M0010", "M0002"))
    assert list(inventory) == ["M0002", "M0003", "M0010"]
    assert inventory["M0003"] == ModelSpec(
        priority=Priority.MEDIUM,
        vram_size_mb=2048,
        load_time_ms=6963.2,
        cpu_fallback="cpu_standard",
        inference_ms=8_000,
    )
    assert inventory["M0002"].vram_size_mb == inventory["M0010"].vram_size_mb == 6656
    assert inventory["M0002"].load_time_ms == 22630.4


@pytest.mark.parametrize("name", ["SDXL", "M", "m0001", "M1x", "M-1"])
def test_inventory_refuses_other_names(name):
    with pytest.raises(InputError) as caught:
        genai_2026_inventory(named("M0001", name, "M0002"))
    assert str(caught.value) == (
        f"t.csv: row 2 column model: found {name!r}, expected M and a number, as in M0002"
    )


@pytest.mark.skipif(not REAL.exists(), reason=f"the real trace is not at {REAL}")
def test_real_trace():
    trace, report = import_genai_2026(REAL)
    assert report == ImportReport(rows_read=14_008, rows_kept=13_999, dropped={"no model": 9})
    assert len(trace) == 13_999
    assert len(trace.model_names) == 76
    assert trace.times_s[0] == 0.0
    assert trace.duration_s == 1_234_904.0
    counts = np.sort(np.bincount(trace.model_codes))[::-1]
    assert counts[0] == (trace.frame["model"] == "M0002").sum() == 4_159
    # the publisher's description: the ten most used take 84% of the requests
    assert round(counts[:10].sum() / len(trace), 2) == 0.84
    assert sorted(set(trace.items)) == [1, 2, 3, 4, 5, 8]
    inventory = genai_2026_inventory(trace)
    assert list(inventory) == sorted(trace.model_names)
    assert {spec.vram_size_mb for spec in inventory.values()} == {2048, 6656}
