"""The commands of the program, found as it finds them itself."""

from typing import Any

from typer.main import get_command

from hearthline.cli import build


def command_paths() -> list[str]:
    """Every command as it is typed after ``hearthline``: ``demo``, ``site check`` …"""
    return [path for path, command in _walk("", get_command(build())) if not hasattr(command, "commands")]


def group_paths() -> list[str]:
    """Every group of commands, the program itself as an empty string."""
    return [path for path, command in _walk("", get_command(build())) if hasattr(command, "commands")]


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    found = [(path, command)]
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if not child.hidden:
            found += _walk(f"{path} {name}".strip(), child)
    return found
