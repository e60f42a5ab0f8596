"""The command line as a fixture."""

import pytest

from vramlab.cli.app import run


@pytest.fixture
def vramlab(capsys):
    """Run a command; gives (exit status, standard output, standard error)."""

    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
