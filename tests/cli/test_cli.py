"""The command line as users' scripts see it: exit status, JSON keys, one clear line for bad input."""

import inspect
import json
from pathlib import Path

import pytest
import yaml

from vramlab.cli import commands
from vramlab.cli.app import application
from vramlab.cli.commands import COMMANDS
from vramlab.config.errors import InputError
from vramlab.config.loading import load_config, load_inventory
from vramlab.config.schema import ModelSpec
from vramlab.live.runtime import LiveRuntime
from vramlab.live.stand_ins import build_stand_ins

ROOT = Path(__file__).parents[2]
TRACE = str(ROOT / "traces" / "live_workload.csv")
POOL = str(ROOT / "config" / "scenarios" / "one_pool.yaml")
TIGHT = str(ROOT / "config" / "scenarios" / "tight.yaml")
MODELS = str(ROOT / "config" / "model_config.yaml")

REPLAY_KEYS = {
    "requests", "hits", "cold_starts", "waits", "fallbacks", "refused", "cache_hits", "hit_rate",
    "cold_start_rate", "evictions", "loads", "preloads", "bytes_loaded", "load_cost_s", "latency_mean_s",
    "latency_p50_s", "latency_p95_s", "latency_p99_s", "vram_used_mean_bytes", "vram_used_peak_bytes",
    "zones", "models", "wall_s", "requests_per_s", "backend", "policy", "seed", "config_sha256",
    "trace_sha256", "version",
}  # fmt: skip


def json_of(result):
    status, out, _ = result
    assert status == 0
    return json.loads(out)


@pytest.mark.parametrize("mode", ["simulate", "decide"])
def test_replay_gives_the_promised_keys_and_counts_that_add_up(vramlab, mode):
    figures = json_of(vramlab("replay", TRACE, "--config", TIGHT, "--mode", mode, "--json"))
    assert set(figures) >= REPLAY_KEYS
    kinds = ("hits", "cold_starts", "waits", "fallbacks", "refused", "cache_hits", "failed")
    assert sum(figures[kind] for kind in kinds) == figures["requests"] == 743
    assert figures["hit_rate"] == figures["hits"] / (743 - figures["cache_hits"])
    for part in ("zones", "models"):
        for kind in (*kinds, "loads", "evictions", "bytes_loaded"):
            assert sum(row[kind] for row in figures[part].values()) == figures[kind]
    assert figures["vram_used_peak_bytes"] <= 480 * 2**20


def test_everything_fits_in_6_gb(vramlab):
    seed = ROOT / "config" / "scenarios" / "seed_6gb.yaml"
    figures = json_of(vramlab("replay", TRACE, "--config", seed, "--json"))
    assert figures["evictions"] == figures["refused"] == figures["fallbacks"] == 0
    assert figures["loads"] == 5  # of seven models asked for, two are always loaded


def test_replay_writes_its_records(vramlab, tmp_path):
    out = tmp_path / "run"
    assert vramlab("replay", TRACE, "--config", TIGHT, "--out", out)[0] == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "requests.parquet", "loads.parquet", "evictions.parquet", "figures.json", "journal.jsonl"
    }  # fmt: skip


def test_compare_ends_with_the_optimum_and_its_rows_say_how_far_they_are_from_it(vramlab):
    arrival = ["--set", "serving.order=arrival"]  # who reorders requests may need fewer loads than the bound
    document = json_of(
        vramlab("compare", TRACE, "--config", POOL, "--policies", "gdsf,lru", *arrival, "--json")
    )
    gdsf, lru = document["rows"]
    assert (gdsf["policy"], lru["policy"]) == ("gdsf", "lru")
    assert set(gdsf) >= REPLAY_KEYS | {"gap_closed"}
    optimum = document["optimum"]["load_cost_s"]
    assert 0 < optimum <= min(gdsf["load_cost_s"], lru["load_cost_s"])
    assert lru["gap_closed"] == 0
    closed = (lru["load_cost_s"] - gdsf["load_cost_s"]) / (lru["load_cost_s"] - optimum)
    assert gdsf["gap_closed"] == pytest.approx(closed)
    table = vramlab("compare", TRACE, "--config", POOL, "--policies", "lru", *arrival)[1]
    *_, floor, last = [line for line in table.splitlines() if line[:1] == "│"]
    assert floor.startswith("│ unlimited memory")
    assert last.startswith("│ offline optimum")


def test_compare_of_orders_says_what_too_little_memory_costs(vramlab):
    given = ["compare", TRACE, "--config", POOL, "--orders", "fifo,arrival,affinity,backlog"]
    document = json_of(vramlab(*given, "--json"))
    rows, floor = document["rows"], document["floor"]
    assert [row["order"] for row in rows] == ["fifo", "arrival", "affinity", "backlog"]
    assert {row["policy"] for row in rows} == {"seed_fixed"}
    assert floor["evictions"] == 0
    assert floor["order"] == "fifo"
    for row in rows:
        assert row["price_mean_s"] == pytest.approx(row["latency_mean_s"] - floor["latency_mean_s"])
        assert row["price_p99_s"] == pytest.approx(row["latency_p99_s"] - floor["latency_p99_s"])
        assert row["latency_max_s"] >= row["latency_p99_s"] >= row["latency_mean_s"] > 0
        assert row["failed"] == 0
    price = {row["order"]: row["price_mean_s"] for row in rows}
    assert price["backlog"] < price["arrival"] < price["fifo"]
    text = vramlab(*given)[1]
    assert "seed_fixed, backlog" in text
    assert "fewer loads than the optimum" in text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--orders", "backlog,backlock"], "did you mean 'backlog'"),
        (["--orders", "backlog", "--mode", "decide"], "mode simulate"),
        (["--set", "serving.max_wait_s=0"], "greater than 0"),
        (["--set", "serving.order=arrival", "--set", "fallback.when=earliest_finish"], "decides late"),
    ],
)
def test_orders_that_cannot_be_are_one_clear_line(vramlab, given, said):
    status, out, err = vramlab("compare", TRACE, "--config", POOL, *given)
    assert (status, out, err.strip().count("\n")) == (2, "", 0)
    assert said in err


def test_bound(vramlab):
    document = json_of(vramlab("bound", TRACE, "--capacity-mb", 400, "--models", MODELS, "--json"))
    assert set(document) >= {
        "load_cost_s", "load_cost_all_miss_s", "capacity_bytes", "requests", "admission", "method"
    }  # fmt: skip
    assert document["capacity_bytes"] == 400 * 2**20
    assert 0 < document["load_cost_s"] < document["load_cost_all_miss_s"]


def test_import_genai(vramlab, tmp_path):
    source = tmp_path / "source.csv"
    source.write_text(
        "gmt_create,predict_type,predict_status,exec_time_seconds,groupId,num_images_per_prompt,"
        "checkpoint_model_version_id\n"
        "2024-11-15 16:57:50,a,SUCCEED,3,g1,1,M0001\n"
        "2024-11-15 16:57:52,a,SUCCEED,3,g1,2,\n"
        "2024-11-15 16:58:00,a,SUCCEED,3,g2,2,M0002\n"
    )
    trace, models = tmp_path / "trace.csv", tmp_path / "models.yaml"
    status, _, err = vramlab("import", "genai-2026", source, "--out", trace, "--models-out", models)
    assert status == 0
    assert "1 dropped: no model" in err
    specs = yaml.safe_load(models.read_text())["models"]["genai_2026"]
    assert {name: spec["vram_size_mb"] for name, spec in specs.items()} == {"M0001": 2048, "M0002": 6656}
    config = ROOT / "config" / "scenarios" / "genai_24gb.yaml"
    figures = json_of(vramlab("replay", trace, "--config", config, "--models", models, "--json"))
    assert (figures["requests"], figures["loads"]) == (2, 2)


BAD_INPUT = [
    (["replay", "no.csv", "--config", TIGHT], ["no.csv", "no such file"]),
    (["replay", TRACE, "--config", "no.yaml"], ["no.yaml", "no such file"]),
    (["replay", TRACE, "--config", TIGHT, "--policy", "lur"], ["scoring.policy", "'lur'", "'lru'?"]),
    (["replay", TRACE, "--config", TIGHT, "--set", "admision=always"], ["admision", "'admission'?"]),
    (["replay", TRACE, "--config", TIGHT, "--set", "total_memory_mb"], ["total_memory_mb", "KEY=VALUE"]),
    (["replay", TRACE, "--set", "total_memory_mb=-1"], ["total_memory_mb", "-1", "greater"]),
    (["replay", TRACE, "--config", TIGHT, "--mode", "guess"], ["--mode", "guess"]),
    (["replay"], ["Missing argument"]),
    (["replay", TRACE, "--no-such-option"], ["--no-such-option"]),
    (["compare", TRACE, "--config", POOL, "--policies", "lru,nope"], ["scoring.policy", "'nope'"]),
    (["compare", TRACE, "--config", POOL, "--policies", "lru,"], ["--policies", "'lru,'", "empty"]),
    (["compare", TRACE, "--config", POOL, "--policies", "lru,lru"], ["--policies", "'lru' twice"]),
    *(
        (["bound", TRACE, "--models", MODELS, "--capacity-mb", size], ["--capacity-mb", size, "more than 0"])
        for size in ("nan", "inf", "-5", "0")
    ),
    (["verify", "no-such-run"], ["no-such-run", "journal"]),
    (["fly"], ["fly"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), BAD_INPUT, ids=lambda value: " ".join(map(str, value))[-60:])
def test_bad_input_is_one_line_and_status_2(vramlab, arguments, parts):
    status, out, err = vramlab(*arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


def edited(tmp_path, source, change):
    data = yaml.safe_load(Path(source).read_text())
    change(data)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda d: d["vram_management"].update(zoness=1), ["vram_management.zoness", "did you mean 'zones'"]),
        (
            lambda d: d["vram_management"].update(total_memory_mb="6 GB"),
            ["total_memory_mb", "'6 GB'", "number"],
        ),
        (lambda d: d["vram_management"]["zones"]["flexible"].update(size_mb=-5), ["flexible.size_mb", "-5"]),
        (
            lambda d: d["vram_management"]["zones"]["critical"].update(reserved_models=["yolo.onnx"]),
            ["critical.reserved_models", "'yolo.onnx'", MODELS],
        ),
    ],
)
def test_bad_configuration(vramlab, tmp_path, change, parts):
    path = edited(tmp_path, ROOT / "config" / "vram_config.yaml", change)
    status, _, err = vramlab("replay", TRACE, "--config", path, "--models", MODELS)
    assert (status, err.count("\n")) == (2, 1)
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda m: m["face_detection"]["yolov5s-face.onnx"].update(zone="flexibel"), ["zone", "'flexible'"]),
        (
            lambda m: m["face_detection"]["yolov10n-face.onnx"].update(vram_size_mb=9000),
            ["9001.9 MB", "2048.0 MB"],
        ),
    ],
)
def test_bad_inventory(vramlab, tmp_path, change, parts):
    path = edited(tmp_path, MODELS, lambda d: change(d["models"]))
    status, _, err = vramlab("replay", TRACE, "--models", path)
    assert (status, err.count("\n")) == (2, 1)
    for part in parts:
        assert part in err


def test_record_then_verify_and_a_journal_that_was_changed_is_found_out(vramlab, tmp_path, monkeypatch):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    models = tmp_path / "models.yaml"
    models.write_text(
        yaml.safe_dump(
            {
                "models": {
                    "group": {
                        f"m{number}.onnx": {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
                        for number in range(3)
                    }
                }
            }
        )
    )
    workload = tmp_path / "workload.csv"
    rows = [f"{0.02 * number:.2f},m{number // 8 % 3}.onnx" for number in range(40)]
    workload.write_text("time_s,model\n" + "\n".join(rows) + "\n")
    out = tmp_path / "run"
    figures = json_of(
        vramlab(
            "record",
            "--workload",
            workload,
            "--out",
            out,
            "--models",
            models,
            "--config",
            POOL,
            "--device",
            "cpu-emulated",
            "--json",
            "--set",
            "zones.flexible.size_mb=5",
            "--set",
            "total_memory_mb=5",
        )
    )
    assert figures["backend"] == "cpu-emulated"
    assert figures["requests"] == 40
    assert figures["evictions"] > 0
    assert vramlab("record", "--workload", workload, "--out", out, "--models", models)[0] == 2  # not empty

    short = json_of(vramlab("verify", out, "--json"))
    assert short["judged"]["problem"].startswith("too short to calibrate and to judge: ")
    assert short["fidelity"]["simulated"]["latency_p50_s"] is None
    document = json_of(vramlab("verify", out, "--json", "--service-times", "spec", "--warm-up", "0"))
    assert document["lockstep"] == short["lockstep"]
    assert document["lockstep"]["differences"] == []
    assert document["lockstep"]["decisions"] >= 40
    assert document["fidelity"]["live"]["loads"] == figures["loads"]
    assert 0 <= document["waiting"]["passed_over_max_s"] < document["waiting"]["max_wait_s"] == 300
    _, said, _ = vramlab("verify", out)
    assert "while they could be served: " in said
    assert "not compared with simulated ones: too short" in said
    assert "simulated times are the inventory's" in document["caveats"][0]
    assert set(document["fidelity"]["error"]) >= {
        "hit_rate_points", "latency_p50_relative", "latency_p95_relative", "latency_p99_relative",
        "cold_starts_relative",
    }  # fmt: skip

    later = json_of(vramlab("verify", out, "--json", "--service-times", "spec", "--warm-up", "0.4"))
    assert later["lockstep"] == document["lockstep"]
    for side in ("live", "simulated"):
        # half of them, but for those that came some milliseconds late
        assert 17 <= later["fidelity"][side]["requests"] <= 23
        assert later["fidelity"][side]["loads"] < document["fidelity"][side]["loads"]
    for seconds in ("-1", "9", "nan"):
        status, _, err = vramlab("verify", out, "--warm-up", seconds)
        assert (status, err.count("\n")) == (2, 1)
        assert "--warm-up" in err
        assert "seconds of the run, which took 0." in err

    journal = out / "journal.jsonl"
    recorded = journal.read_text()
    replayed = tmp_path / "replay"
    for folder, status in ((out, 2), (replayed, 0), (replayed, 0)):
        found = vramlab("replay", workload, "--models", models, "--config", POOL, "--out", folder)
        assert found[0] == status
        assert ("a recording" in found[2]) == (folder == out)
    assert journal.read_text() == recorded
    journal.write_text((replayed / "journal.jsonl").read_text())  # as if it had been allowed
    status, _, err = vramlab("verify", out)
    assert (status, err.count("\n")) == (2, 1)
    assert "40 requests that are not the 40 of journal.jsonl" in err
    journal.write_text(recorded)

    lines = recorded.splitlines()
    place = next(i for i, line in enumerate(lines) if '"what":"hit"' in line)
    lines[place] = lines[place].replace('"what":"hit"', '"what":"join"')
    journal.write_text("\n".join(lines) + "\n")
    status, shown, _ = vramlab("verify", out)
    assert status == 1
    assert f"line {place + 1}" in shown
    assert "join" in shown


def test_a_model_that_the_inventory_lacks_is_said_with_the_inventorys_file(vramlab, tmp_path):
    models = edited(tmp_path, MODELS, lambda data: data["models"].pop("face_recognition"))
    command = ["--models", models, "--set", "zones={flexible: {size_mb: 400}}"]
    for name in ("replay", "compare", "curve"):
        status, _, err = vramlab(name, TRACE, *command)
        assert (status, err.count("\n")) == (2, 1)
        assert str(models) in err
        assert TRACE in err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--speed", "0"], ["--speed", "0.0", "more than 0"]),
        (["--speed", "nan"], ["--speed", "nan"]),
        (["--speed", "inf"], ["--speed", "inf"]),
        (["--device", "gpu"], ["device", "'gpu'", "cpu-emulated"]),
        (["--set", "scoring.policy=lur"], ["scoring.policy", "'lru'?"]),
        (["--workload", "other.csv"], ["other.csv", "row 1", "'c.onnx'", "models.yaml"]),
        (["--workload", "broken.csv"], ["broken.onnx", "ONNX"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_record_refuses_leaves_no_folder(vramlab, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    specs = {"a.onnx": spec, "b.onnx": spec | {"path": "broken.onnx"}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": {"group": specs}}))
    for name, model in (("workload", "a"), ("broken", "b"), ("other", "c")):
        (tmp_path / f"{name}.csv").write_text(f"time_s,model\n0,{model}.onnx\n")
    command = ["--models", "models.yaml", "--workload", "workload.csv", "--device", "cpu-emulated"]
    status, _, err = vramlab("record", *command, "--out", "run", *arguments)
    assert (status, err.count("\n")) == (2, 1)
    for part in parts:
        assert part in err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def two_files(tmp_path, monkeypatch):
    """A model, a file that is none, and the inventory of both; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    build_stand_ins({"a.onnx": ModelSpec(**spec)}, tmp_path)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    specs = {name: spec | {"path": name} for name in ("a.onnx", "bad.onnx")}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"models": {"group": specs}}))


PROFILE = ("profile", "--device", "cpu-emulated", "--loads", "1", "--runs", "1", "--out", "out.yaml")


def test_a_model_that_was_not_measured_does_not_look_measured(vramlab, two_files, tmp_path):
    for given, written in ((["a.onnx", "bad.onnx"], ["a.onnx"]), (["--models", "models.yaml"], None)):
        status, _, err = vramlab(*PROFILE, *given)
        assert status == 1
        assert sum(line.startswith("not measured: bad.onnx: ") for line in err.splitlines()) == 1
        assert "not measured: a.onnx" not in err
        text = (tmp_path / "out.yaml").read_text()
        specs = next(iter(yaml.safe_load(text)["models"].values()))
        assert list(specs) == (written or ["a.onnx", "bad.onnx"])
        assert specs["a.onnx"]["load_time_ms"] not in (0, 10)
    assert specs["bad.onnx"]["load_time_ms"] == 10
    assert "# NOT MEASURED, with the values of before: bad.onnx" in text
    status, out, _ = vramlab(*PROFILE, "a.onnx", "bad.onnx", "--json")
    assert (status, list(json.loads(out))) == (1, ["a.onnx"])


def test_a_path_that_leads_nowhere_becomes_no_random_weights(vramlab, tmp_path, monkeypatch):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump({"models": {"g": {"a": spec | {"path": "a.omnx"}}}}))
    (tmp_path / "t.csv").write_text("time_s,model\n0,a\n")
    for command in (
        ["profile", "--models", "typo.yaml", "--device", "cpu-emulated", "--out", "out.yaml"],
        [
            "record",
            "--models",
            "typo.yaml",
            "--workload",
            "t.csv",
            "--device",
            "cpu-emulated",
            "--out",
            "run",
        ],
    ):
        status, _, err = vramlab(*command)
        assert (status, err.count("\n")) == (2, 1)
        assert "models.a.path: found no file" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "typo.yaml"]


def test_what_was_measured_on_a_stand_in_says_so_and_is_not_served_as_the_model(
    vramlab, tmp_path, monkeypatch
):
    monkeypatch.setenv("VRAMLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10, "sha256": "0" * 64}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"models": {"g": {"a": spec}}}))
    status, _, _ = vramlab(*PROFILE, "--models", "m.yaml")
    assert status == 0
    text = (tmp_path / "out.yaml").read_text()
    assert "# MEASURED ON STAND-INS, not on the models: a." in text
    inventory = load_inventory(tmp_path / "out.yaml")
    assert (inventory["a"].path, inventory["a"].sha256, inventory["a"].stand_in_mb) == (None, "0" * 64, 2.0)
    with pytest.raises(InputError, match=r"models\.a\.path: found nothing"):
        LiveRuntime(load_config(None), inventory, "cpu-emulated")


def test_stand_ins_replace_nothing_that_is_the_users(vramlab, tmp_path):
    spec = {"priority": "medium", "vram_size_mb": 2, "load_time_ms": 10}
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"models": {"g": {"a.onnx": spec}}}))
    (tmp_path / "a.onnx").write_bytes(b"precious")
    status, _, err = vramlab("stand-ins", "--models", tmp_path / "m.yaml", "--out", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert "a file that vramlab did not make" in err
    assert (tmp_path / "a.onnx").read_bytes() == b"precious"


def test_a_profile_without_any_model_writes_nothing(vramlab, two_files, tmp_path):
    status, out, err = vramlab(*PROFILE, "bad.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "bad.onnx: found bytes of another format" in err
    assert not list(tmp_path.glob("out*"))
    (tmp_path / "empty.onnx").touch()
    status, out, err = vramlab(*PROFILE, "empty.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no model that could be measured (empty.onnx" in err
    status, out, err = vramlab(*PROFILE[:-1], "out.txt", "a.onnx")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "out.txt: found suffix '.txt'" in err
    status, _, err = vramlab(*PROFILE, "a.onnx", tmp_path / "a.onnx")
    assert (status, err.count("\n")) == (2, 1)
    assert "each file once" in err


def test_help_of_every_command_has_an_example(vramlab):
    status, out, _ = vramlab("--help")
    assert status == 0
    for command in ("replay", "compare", "bound", "record", "verify", "stand-ins", "import", "demo"):
        assert command in out
        status, text, _ = vramlab(command, "--help")
        assert status == 0
        assert "Example: vramlab" in text


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--mode", "decid", "'decid' is not one of 'simulate', 'decide' (did you mean 'decide'?)"),
        ("--service-times", "medain", "'recorded' (did you mean 'median'?)"),
        ("--mode", "xyz", "'xyz' is not one of 'simulate', 'decide'"),
        ("--seed", "-1", "0"),
        ("--seed", "x", ""),
    ],
)
def test_a_wrong_value_is_refused_without_the_words_of_a_library(vramlab, option, value, message):
    status, out, err = vramlab("replay", TRACE, option, value)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"vramlab: Invalid value for '{option}'")
    assert message in err
    assert "Value error" not in err
    assert "Input should" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_modules_say(name):
    its = {command.name: command.callback for command in application(name).registered_commands}
    about = inspect.cleandoc(its[name].__doc__).split("\n\n")[0]
    assert COMMANDS[name].about == " ".join(about.split())
    # nothing is registered that is not listed, under another name or from another module
    assert {other: COMMANDS[other].module for other in its} == dict.fromkeys(its, COMMANDS[name].module)


def test_every_module_that_registers_commands_is_listed():
    folder = Path(commands.__file__).parent
    registering = {path.stem for path in folder.glob("*.py") if "def register(" in path.read_text("utf-8")}
    assert registering == {command.module for command in COMMANDS.values()}
