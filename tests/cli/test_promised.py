"""Commands and options that scripts of users depend on: a list of promises, which only grows.

Keys of JSON documents are held by the tests of what they say.
"""

import pytest
import typer

from vramlab.cli.app import application
from vramlab.cli.commands import COMMANDS
from vramlab.engine.orders import order_names
from vramlab.traces.importers import IMPORTERS

CASE = {"--config", "--models", "--set", "--mode", "--seed", "--json"}
OPTIONS = {
    "replay": CASE | {"--policy", "--service-times", "--out", "--memory-map"},
    "compare": CASE | {"--policies", "--plot", "--jobs"},
    "sweep": {"--grid", "--jobs", "--dask", "--out", "--resume"},
    "tune": {"--trials", "--objective", "--validate-from", "--out", "--json"},
    "bound": {"--capacity-mb", "--models", "--admission", "--json"},
    "record": {"--config", "--models", "--workload", "--out", "--speed", "--device", "--json"},
    "verify": {"--service-times", "--warm-up", "--plot", "--json"},
    "profile": {"--device", "--out", "--from-run"},
    "generate": {"--out"},
    "import": {"--out", "--models-out", "--columns", "--assume-mb"},
    "stand-ins": {"--models", "--out"},
    "monitor": {"--config", "--at"},
    "demo": set(),
    "curve": {"--plot"},
    "describe": set(),
    "export": set(),
    "fidelity": set(),
    "memory": set(),
    "journal-trace": set(),
    "whatif": {"--json"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_command_has_the_options_that_were_promised(name):
    assert name in COMMANDS
    command = typer.main.get_command(application(name)).commands[name]
    assert {option for one in command.params for option in one.opts} >= OPTIONS[name]
    assert "Example" in command.help


def test_choices_that_were_promised():
    assert set(order_names()) >= {"fifo", "affinity", "backlog", "arrival"}
    assert set(IMPORTERS) >= {"azure-functions", "burstgpt", "genai-2026"}
