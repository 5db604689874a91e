"""The commands of the program, found as it finds them itself."""

import contextlib
import io
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

from typer.main import get_command

from hearthline.cli import build, main


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


def run_command(*words: object) -> Ran:
    """Run a command in this process, as from a shell: known errors are one line and an exit code."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["hearthline", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Ran(int(code or 0), out.getvalue(), errors.getvalue())


def command_paths() -> list[str]:
    """Every command as it is typed after ``hearthline``: ``demo``, ``site check`` …"""
    return [path for path, command in _all() if not hasattr(command, "commands")]


def group_paths() -> list[str]:
    """Every group of commands, the program itself as an empty string."""
    return [path for path, command in _all() if hasattr(command, "commands")]


@cache
def _all() -> list[tuple[str, Any]]:
    """Every command and group; to make them takes a tenth of a second."""
    return _walk("", get_command(build()))


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    found = [(path, command)]
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            found += _walk(f"{path} {name}".strip(), child)
    return found
