"""Packages that add policies, predictors and importers: real ones, with records, on a temporary path."""

import json
import subprocess
import sys
import textwrap

import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import POLICIES, make_policy, policy_names
from vramlab.cli.app import run
from vramlab.config import plugins
from vramlab.config.errors import InputError
from vramlab.config.loading import load_scenario
from vramlab.config.schema import ScoringConfig
from vramlab.prediction.registry import PREDICTORS, make_predictor, predictor_names
from vramlab.traces.importers import IMPORTERS, ImportOptions, importer_names, make_importer

CODE = """
    from pathlib import Path

    import pandas as pd

    from vramlab.traces.importers import ImportReport
    from vramlab.traces.trace import Trace

    NUMBER = 3

    def largest_leaves(model, now_s):
        return -model.bytes

    class Coin:
        def __init__(self, models, heads=0.5):
            self.heads = heads

        def observe(self, model, time_s):
            pass

        def probability(self, model, now_s, horizon_s):
            return self.heads

    def one_per_line(source, options):
        names = Path(source).read_text().split()
        frame = pd.DataFrame({"time_s": [float(n) for n in range(len(names))], "model": names})
        return Trace.from_frame(frame, str(source)), ImportReport(len(names), len(names), {})
"""
OFFERS = {
    "vramlab.policies": {"largest_leaves": "MODULE:largest_leaves"},
    "vramlab.predictors": {"coin": "MODULE:Coin"},
    "vramlab.importers": {"one-per-line": "MODULE:one_per_line"},
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package and its record where Python finds them, as an installer does."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    modules = []

    def installed(package, offers=OFFERS, code=CODE):
        module = package.replace("-", "_")
        modules.append(module)
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        record = folder / f"{module}-1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = []
        for group, names in offers.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in names.items())]
        (record / "entry_points.txt").write_text("\n".join(lines).replace("MODULE", module))
        plugins._installed.cache_clear()
        return folder

    yield installed
    plugins._installed.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def test_names_come_after_ours_and_import_nothing(install):
    install("vramlab-extras")
    assert policy_names() == [*POLICIES, "largest_leaves"]
    assert predictor_names() == [*PREDICTORS, "coin"]
    assert importer_names() == [*IMPORTERS, "one-per-line"]
    make_policy(ScoringConfig(policy="lru"))
    assert "vramlab_extras" not in sys.modules


def test_they_do_what_they_are_for(install, tmp_path):
    install("vramlab-extras")
    assert Cache("largest_leaves", 4, {"B": {"vram_size_mb": 2}}).ask("ABCD") == "B"
    coin = make_predictor("coin", ["a"], heads=0.75)
    assert coin.probability("a", 0.0, 1.0) == 0.75
    source = tmp_path / "names.txt"
    source.write_text("a\nb\na\n")
    trace, report = make_importer("one-per-line")(source, ImportOptions())
    assert (list(trace.model_codes), report.rows_read) == ([0, 1, 0], 3)


def test_an_installed_policy_is_compared_from_the_command_line(install, tmp_path):
    """In a process of its own, as a user would."""
    folder = install("vramlab-extras")
    source = tmp_path / "names.txt"
    source.write_text("\n".join("abcabdacbd"))
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); from vramlab.cli.app import main; main()"

    def vramlab(*arguments):
        command = [sys.executable, "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    assert "one-per-line" in vramlab("import", "--help")
    assert "largest_leaves" in vramlab("replay", "--help")
    trace, models = tmp_path / "trace.csv", tmp_path / "models.yaml"
    vramlab("import", "one-per-line", source, "--out", trace, "--models-out", models)
    pool = "zones={flexible: {size_mb: 1100}}"
    done = vramlab(
        "compare", trace, "--models", models, "--mode", "decide", "--set", pool,
        "--policies", "lru,largest_leaves", "--json",
    )  # fmt: skip
    assert [row["policy"] for row in json.loads(done)["rows"]] == ["lru", "largest_leaves"]


def test_a_configuration_may_name_one(install, tmp_path):
    install("vramlab-extras")
    file = tmp_path / "config.yaml"
    file.write_text("vram_management:\n  scoring:\n    policy: largest_leaves\n")
    assert load_scenario(file).config.scoring.policy == "largest_leaves"


def test_unknown_names_are_answered_with_all_that_are_known(install, capsys):
    install("vramlab-extras")
    for make in (
        lambda: make_policy(ScoringConfig(policy="largest_leave")),
        lambda: make_predictor("coins", ["a"]),
        lambda: make_importer("one_per_line"),
    ):
        with pytest.raises(InputError, match=r"did you mean '(largest_leaves|coin|one-per-line)'"):
            make()
    assert run(["import", "burst", "x.csv", "--out", "y.csv"]) == 2
    assert "did you mean 'burstgpt'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "name", "make"),
    [
        ("vramlab.policies", "lru", lambda: make_policy(ScoringConfig(policy="lru"))),
        ("vramlab.policies", "seed", lambda: make_policy(ScoringConfig(policy="seed"))),
        ("vramlab.predictors", "ewma", lambda: make_predictor("ewma", ["a"])),
        ("vramlab.importers", "csv", lambda: make_importer("csv")),
    ],
)
def test_a_name_of_ours_is_not_taken(install, group, name, make):
    install("vramlab-thief", {group: {name: "MODULE:largest_leaves"}})
    with pytest.raises(InputError, match=f"{name}: found an entry point of vramlab-thief") as caught:
        make()
    assert "\n" not in str(caught.value)
    assert policy_names() == [*POLICIES]


def test_two_packages_with_one_name(install):
    install("vramlab-extras")
    install("vramlab-others")
    assert policy_names().count("largest_leaves") == 1
    with pytest.raises(InputError, match=r"vramlab-extras \(vramlab_extras:.*vramlab-others \(") as caught:
        make_policy(ScoringConfig(policy="largest_leaves"))
    assert "package.module:name" in caught.value.expected
    # the way out that the error names
    assert Cache("vramlab_others:largest_leaves", 4, {"B": {"vram_size_mb": 2}}).ask("ABCD") == "B"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
        ("def largest_leaves(:", "SyntaxError"),
    ],
)
def test_a_broken_package_is_named(install, code, says):
    install("vramlab-broken", {"vramlab.policies": {"largest_leaves": "MODULE:largest_leaves"}}, code)
    assert "largest_leaves" in policy_names()  # listing does not import it
    with pytest.raises(InputError, match=f"of the package vramlab-broken, which fails: {says}") as caught:
        make_policy(ScoringConfig(policy="largest_leaves"))
    assert "\n" not in str(caught.value)
    make_policy(ScoringConfig(policy="lru"))  # and nothing else suffers


def test_something_that_is_no_plug_in(install):
    install(
        "vramlab-odd",
        {
            "vramlab.policies": {"number": "MODULE:NUMBER"},
            "vramlab.predictors": {"number": "MODULE:NUMBER"},
            "vramlab.importers": {"number": "MODULE:NUMBER"},
        },
    )
    with pytest.raises(InputError, match="'number', which is int, expected a function"):
        make_policy(ScoringConfig(policy="number"))
    with pytest.raises(InputError, match="'number', a int, expected a class or a function"):
        make_predictor("number", ["a"])
    with pytest.raises(InputError, match="number: found int, expected a function"):
        make_importer("number")
