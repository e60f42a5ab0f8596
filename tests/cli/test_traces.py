"""``import``, ``generate``, ``export`` and ``describe`` as users' scripts see them."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cli.publishers import SOURCES
from vramlab.cli.traces import largest_gap
from vramlab.traces.describe import describe
from vramlab.traces.files import read_trace
from vramlab.traces.generate import generate
from vramlab.traces.importers import IMPORTERS
from vramlab.traces.spec import load_spec
from vramlab.traces.synthetic import zipf_trace

ROOT = Path(__file__).parents[2]
LIVE = ROOT / "traces" / "live_workload.csv"
MODELS = ROOT / "config" / "model_config.yaml"


def source_of(kind, tmp_path):
    path = tmp_path / f"source-{kind}.csv"
    if kind == "oracle-general":
        path.write_bytes(b"".join(struct.pack("<IQIq", t, i, 1 << 20, -2) for t, i in ((1, 7), (2, 8))))
    else:
        path.write_text(SOURCES[kind])
    return path


@pytest.mark.parametrize("kind", sorted(IMPORTERS))
def test_every_kind_is_imported_and_its_models_can_be_replayed_at_once(vramlab, tmp_path, kind):
    trace, models = tmp_path / "trace.csv", tmp_path / "models.yaml"
    status, out, err = vramlab(
        "import", kind, source_of(kind, tmp_path), "--out", trace, "--models-out", models, "--json"
    )
    assert status == 0
    document = json.loads(out)
    rows = 4 if kind == "triton" else 2
    assert (document["rows_read"], document["requests"], document["dropped"]) == (rows, 2, {})
    assert f"{rows} rows read, 2 requests kept" in err
    assert read_trace(trace).sha256 == document["trace_sha256"]
    assert vramlab("replay", trace, "--models", models, "--set", "total_memory_mb=20000", "--json")[0] == 0


def test_sizes_of_the_source_become_those_of_the_inventory(vramlab, tmp_path):
    models = tmp_path / "models.yaml"
    source = source_of("libcachesim-csv", tmp_path)
    vramlab("import", "libcachesim-csv", source, "--out", tmp_path / "t.csv", "--models-out", models)
    specs = yaml.safe_load(models.read_text())["models"]["libcachesim_csv"]
    assert {name: spec["vram_size_mb"] for name, spec in specs.items()} == {"1": 1.0, "2": 4.0}


def test_sizes_that_nobody_knows_are_said_to_be_assumed(vramlab, tmp_path):
    models = tmp_path / "models.yaml"
    source = source_of("csv", tmp_path)
    status, _, err = vramlab(
        "import", "csv", source, "--out", tmp_path / "t.csv", "--models-out", models, "--assume-mb", "64"
    )
    assert status == 0
    text = models.read_text()
    assert "# ASSUMED, not measured: vram_size_mb 64 of 2 of 2 models (all)" in text
    assert "# ASSUMED, not measured: load_time_ms" in text
    assert "ASSUMED" in err
    assert "all models together take 128 MB" in err
    specs = yaml.safe_load(text)["models"]["csv"]
    assert {name: spec["vram_size_mb"] for name, spec in specs.items()} == {"a": 64.0, "b": 64.0}


def test_only_the_models_without_a_size_are_named(vramlab, tmp_path):
    source, models = tmp_path / "calls.csv", tmp_path / "models.yaml"
    source.write_text("time_s,model,bytes\n1.0,a,1048576\n1.5,b,\n")
    vramlab(
        "import",
        "csv",
        source,
        "--columns",
        "size=bytes",
        "--out",
        tmp_path / "t.csv",
        "--models-out",
        models,
    )
    assert "vram_size_mb 512 of 1 of 2 models (b)" in models.read_text()


def calls(tmp_path, rows=10):
    """A table whose columns have names of their own: a call per second, endpoints a, b, a, b, c, a, ..."""
    path = tmp_path / "calls.csv"
    names = "ababcabaab"
    lines = [f"{1000 * number},{names[number % 10]},u{number % 2}" for number in range(rows)]
    path.write_text("when,endpoint,user\n" + "\n".join(lines) + "\n")
    return path


COLUMNS = ("--columns", "time=when,model=endpoint,requester=user", "--time-unit", "ms")


def imported(vramlab, tmp_path, *arguments):
    out = tmp_path / "out.csv"
    status, _, err = vramlab("import", "csv", calls(tmp_path), "--out", out, *COLUMNS, *arguments)
    assert status == 0, err
    return read_trace(out), err


def test_columns_and_unit(vramlab, tmp_path):
    trace, _ = imported(vramlab, tmp_path)
    assert trace.times_s.tolist() == list(range(10))
    assert trace.model_names == ["a", "b", "c"]
    assert trace.requesters.tolist()[:2] == ["u0", "u1"]


@pytest.mark.parametrize(
    ("arguments", "times_s", "dropped"),
    [
        (("--window", "2:5"), [0, 1, 2], "7 dropped: outside the time window"),
        (("--window", "0.1min:"), [0, 1, 2, 3], "6 dropped: outside the time window"),
        (("--window", ":2s", "--speed", "4"), [0, 0.25], "8 dropped: outside the time window"),
        (("--top", "1"), [0, 2, 5, 7, 8], "5 dropped: not of the 1 most requested"),
    ],
)
def test_window_speed_and_top_say_what_they_drop(vramlab, tmp_path, arguments, times_s, dropped):
    trace, err = imported(vramlab, tmp_path, *arguments)
    assert trace.times_s.tolist() == times_s
    assert dropped in err


def test_thinning_is_seeded(vramlab, tmp_path):
    one, err = imported(vramlab, tmp_path, "--thin", "0.5", "--seed", "3")
    again, _ = imported(vramlab, tmp_path, "--thin", "0.5", "--seed", "3")
    other, _ = imported(vramlab, tmp_path, "--thin", "0.5", "--seed", "4")
    assert one.sha256 == again.sha256 != other.sha256
    assert f"{10 - len(one)} dropped: thinned out" in err


def test_functions_become_models_of_an_inventory(vramlab, tmp_path):
    names = list(yaml.safe_load(MODELS.read_text())["models"]["face_recognition"])
    small = tmp_path / "small.yaml"
    specs = {name: {"priority": "high", "vram_size_mb": 10, "load_time_ms": 5} for name in names[:2]}
    small.write_text(yaml.safe_dump({"models": {"two": specs}}, sort_keys=False))
    out = tmp_path / "models.yaml"
    top, _ = imported(vramlab, tmp_path, "--models", small, "--models-out", out)
    assert top.model_names == names[:2]  # a and b; c, the rarest, is dropped
    assert len(top) == 9
    written = yaml.safe_load(out.read_text())["models"]["csv"]
    assert written[names[0]]["priority"] == "high"  # the inventory's own values, not guesses
    turns, _ = imported(vramlab, tmp_path, "--models", small, "--mapping", "round_robin")
    assert len(turns) == 10
    assert [turns.model_names[code] for code in turns.model_codes[:5]] == [
        names[0], names[1], names[0], names[1], names[0]
    ]  # fmt: skip


def test_bad_rows_are_named_and_bounded(vramlab, tmp_path):
    path = tmp_path / "calls.csv"
    path.write_text("time_s,model\n0,a\nsoon,b\n2,\n3,c\n")
    out = tmp_path / "t.csv"
    status, _, err = vramlab("import", "csv", path, "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    for part in ("calls.csv", "line 3", "time_s", "'soon'", "number"):
        assert part in err
    assert not out.exists()
    assert vramlab("import", "csv", path, "--out", out, "--skip-bad-rows", "1")[0] == 2
    status, _, err = vramlab("import", "csv", path, "--out", out, "--skip-bad-rows", "2")
    assert status == 0
    assert "4 rows read, 2 requests kept" in err
    assert "line 3" in err
    assert len(read_trace(out)) == 2


def test_generate_is_what_the_library_generates(vramlab, tmp_path):
    spec = ROOT / "traces" / "live_workload.yaml"
    out = tmp_path / "trace.parquet"
    document = json.loads(vramlab("generate", spec, "--out", out, "--seed", "7", "--json")[1])
    assert read_trace(out).sha256 == generate(load_spec(spec), 7).sha256 == document["trace_sha256"]


def test_export_writes_bytes_and_says_which_object_is_which(vramlab, tmp_path):
    out = tmp_path / "objects.csv"
    status, text, _ = vramlab("export", "libcachesim-csv", LIVE, "--out", out, "--models", MODELS, "--json")
    assert status == 0
    objects = json.loads(text)["objects"]
    trace = read_trace(LIVE)
    assert list(objects) == trace.model_names
    rows = out.read_text().splitlines()
    assert rows[0] == "time,obj_id,obj_size"
    assert len(rows) == 744
    first = trace.model_names[0]
    size_mb = next(
        models[first]["vram_size_mb"]
        for models in yaml.safe_load(MODELS.read_text())["models"].values()
        if first in models
    )
    assert rows[1] == f"0,1,{int(size_mb * 2**20)}"


def test_describe_tells_draws_and_fits(vramlab, tmp_path):
    plot, spec = tmp_path / "trace.png", tmp_path / "like.yaml"
    status, out, err = vramlab("describe", LIVE, "--plot", plot, "--spec", spec, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["requests"] == 743
    assert document["lru_hit_rates"] == describe(read_trace(LIVE)).lru_hit_rates.tolist()
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert str(spec) in err
    twin = generate(load_spec(spec))
    assert document["twin"]["largest_hit_rate_gap"] == largest_gap(describe(read_trace(LIVE)), describe(twin))
    table = vramlab("describe", LIVE)[1]
    assert "Zipf exponent" in table
    assert "743" in table


def test_a_spec_that_may_be_published_names_nothing_of_the_original(vramlab, tmp_path):
    secret = tmp_path / "secret_customer.csv"
    secret.write_text(
        "time_s,model,requester\n" + "".join(f"{n},acme-{n % 3},bob{n % 5}\n" for n in range(300))
    )
    models, spec, twins = tmp_path / "m.yaml", tmp_path / "twin.yaml", tmp_path / "twin_models.yaml"
    known = {"priority": "high", "load_time_ms": 5, "path": "/x/acme.onnx"}
    specs = {f"acme-{n}": known | {"vram_size_mb": 10 + n} for n in range(3)}
    models.write_text(yaml.safe_dump({"models": {"acme": specs}}))
    status, _, err = vramlab("describe", secret, "--spec", spec, "--models", models, "--models-out", twins)
    assert status == 0, err
    twin = tmp_path / "twin.parquet"
    assert vramlab("generate", spec, "--out", twin)[0] == 0
    for path in (spec, twins, twin):
        for word in (b"acme", b"secret", b"bob", str(tmp_path).encode()):
            assert word not in path.read_bytes(), (path, word)
    assert vramlab("replay", twin, "--models", twins, "--json")[0] == 0
    assert {
        spec["vram_size_mb"] for spec in yaml.safe_load(twins.read_text())["models"]["models"].values()
    } == {10, 11, 12}
    assert vramlab("describe", secret, "--models-out", twins)[0] == 2


def test_thousands_of_names_are_not_printed_on_one_line(vramlab, tmp_path):
    source, models = tmp_path / "calls.csv", tmp_path / "models.yaml"
    rows = "".join(f"{n},model-{n},{n % 2 * 1048576}\n" for n in range(5_000))
    source.write_text("time_s,model,size\n" + rows)
    arguments = ("--columns", "size=size", "--out", tmp_path / "t.csv", "--models-out", models)
    err = vramlab("import", "csv", source, *arguments)[2]
    assert max(map(len, err.splitlines())) < 300
    assert (
        "2,500 of 5,000 models (model-0, model-10, model-100, model-1000, model-1002 and 2,495 more)" in err
    )


def test_an_import_that_is_stopped_leaves_nothing(vramlab, tmp_path, monkeypatch):
    out, models = tmp_path / "t.parquet", tmp_path / "m.yaml"
    arguments = ("import", "csv", LIVE, "--out", out, "--models-out", models)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vramlab.traces.importers.assemble._frame", stopped)
        status, _, err = vramlab(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "interrupt" in err

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        status, _, err = vramlab(*arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert "No space left on device" in err
    assert not list(tmp_path.iterdir())
    assert vramlab(*arguments)[0] == 0


def test_the_gap_of_two_curves_counts_models_that_one_of_them_lacks():
    rng = np.random.default_rng(0)
    two, four = (
        describe(zipf_trace(rng, models=list(names), requests=400, rate_per_s=1.0, exponent=0.0))
        for names in ("ab", "abcd")
    )
    expected = max(
        abs(two.lru_hit_rates[0] - four.lru_hit_rates[0]),
        abs(two.lru_hit_rates[1] - four.lru_hit_rates[1]),
        abs(two.lru_hit_rates[1] - four.lru_hit_rates[2]),
        abs(two.lru_hit_rates[1] - four.lru_hit_rates[3]),
    )
    assert largest_gap(two, four) == largest_gap(four, two) == expected > 0.2


OUT = ("--out", "never.csv")
BAD_INPUT = [
    (["import", "bitcoin", LIVE, *OUT], ["bitcoin", "azure-functions", "genai-2026"]),
    (["import", "csv", "no.csv", *OUT], ["no.csv", "no such file"]),
    (["import", "burstgpt", LIVE, *OUT], ["Timestamp"]),
    (["import", "csv", LIVE], ["Missing option", "--out"]),
    (["import", "csv", LIVE, *OUT, "--columns", "time"], ["--columns", "'time'", "ROLE=COLUMN"]),
    (["import", "csv", LIVE, *OUT, "--columns", "tme=t"], ["tme", "'time'?"]),
    (["import", "csv", LIVE, *OUT, "--columns", "time=t,time=u"], ["--columns", "time", "twice"]),
    (["import", "csv", LIVE, *OUT, "--columns", "time=tme_s"], ["tme_s", "'time_s'?"]),
    (["import", "burstgpt", LIVE, *OUT, "--columns", "time=t"], ["--columns", "burstgpt"]),
    (["import", "csv", LIVE, *OUT, "--window", "5"], ["--window", "'5'", "START:END"]),
    (["import", "csv", LIVE, *OUT, "--window", "5:x"], ["--window", "'x'"]),
    (["import", "csv", LIVE, *OUT, "--window", "7:5"], ["end_s", "5", "more than start_s"]),
    (["import", "csv", LIVE, *OUT, "--window", "2d:3d"], ["no request", "outside the time window"]),
    (["import", "csv", LIVE, *OUT, "--speed", "0"], ["speed", "0", "more than 0"]),
    (["import", "csv", LIVE, *OUT, "--thin", "1.5"], ["thin", "1.5"]),
    (["import", "csv", LIVE, *OUT, "--top", "0"], ["--top", "1"]),
    (["import", "csv", LIVE, *OUT, "--mapping", "round_robin"], ["models", "round_robin"]),
    (["import", "csv", LIVE, "--out", "trace.txt"], ["trace.txt", "'.txt'", ".parquet"]),
    (["export", "libcachesim-csv", "no.csv", *OUT, "--models", MODELS], ["no.csv", "no such file"]),
    (["describe", "no.csv"], ["no.csv", "no such file"]),
    (["describe", LIVE, "--plot", "trace.xyz"], ["trace.xyz", "'.xyz'", ".png"]),
    (["generate", MODELS, *OUT], [str(MODELS), "models", "an unknown key"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), BAD_INPUT, ids=lambda value: " ".join(map(str, value))[-50:])
def test_bad_input_is_one_line_and_status_2(vramlab, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.chdir(tmp_path)
    status, out, err = vramlab(*arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [["libcachesim-csv", LIVE], ["other-csv", LIVE, "--out", "x"], [LIVE], [LIVE, LIVE, "--for", "ollama"]],
)
def test_export_says_what_it_takes(vramlab, words):
    status, _, err = vramlab("export", *words, "--models", MODELS)
    assert status == 2
    assert "TRACE --for SERVER, or libcachesim-csv TRACE --out FILE" in err


def test_export_writes_settings_for_a_server(vramlab, tmp_path):
    trace, out = tmp_path / "t.csv", tmp_path / "settings.yaml"
    trace.write_text("time_s,model\n0,yolov10n-face.onnx\n9,arcface_r100.onnx\n")
    words = ("export", trace, "--models", MODELS, "--for", "llama-swap", "--out", out)
    status, text, _ = vramlab(*words, "--json")
    assert status == 0
    assert "arcface_r100.onnx" in out.read_text()
    assert json.loads(text)["server"].startswith("llama-swap")


@pytest.mark.parametrize("command", ["import", "generate", "export", "describe"])
def test_help_has_an_example(vramlab, command):
    status, text, _ = vramlab(command, "--help")
    assert status == 0
    assert "Example: vramlab" in text
