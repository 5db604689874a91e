"""Every command has help with an example, and wrong usage is one line and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import command_paths, group_paths, run_command
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def run(monkeypatch):
    """What a command says, in this process: a hundred of them, each of which would import for itself."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return run_command


@pytest.mark.parametrize("path", command_paths())
def test_help_shows_an_example(run, path: str):
    result = run(*path.split(), "--help")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    usage, _, rest = result.stdout.partition("\n\n")
    assert usage.strip().startswith(f"Usage: hearthline {path}")
    assert "Example" in rest
    assert f"hearthline {path} " in " ".join(rest.split()) + " ", "an example that can be typed"


@pytest.mark.parametrize("path", group_paths())
def test_groups_have_help(run, path: str):
    result = run(*path.split(), "--help")
    assert result.exit_code == 0, result.stderr
    assert "Commands:" in result.stdout


@pytest.mark.parametrize("path", command_paths())
def test_an_unknown_option_is_one_line_and_exit_2(run, path: str):
    result = run(*path.split(), "--no-such-option")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "--no-such-option" in result.stderr


def test_an_unknown_command_is_one_line_and_exit_2(run):
    result = run("no-such-command")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "no-such-command" in result.stderr


def test_version():
    import hearthline

    words = [Path(sys.executable).with_name("hearthline"), "--version"]  # executed, as operators do it
    result = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert result.returncode == 0
    assert result.stdout == f"hearthline {hearthline.__version__}\n"
