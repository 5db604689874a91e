"""Read a site directory: its files into texts, the texts into the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from hearthline.cli import UsageError
from models.site import Site
from models.site_files import Fault, SiteError, parse_site

__all__ = ["FILES", "check_site", "open_site", "read_site", "read_texts"]

FILES: Final = ("site.toml", "devices.csv", "pipes.csv", "places.csv", "contracts.csv", "vehicles.csv")
"""What a site directory may hold; only the first has to be there."""


def read_texts(path: Path) -> dict[str, str]:
    """Text of each site file in `path` by name, without a byte order mark.

    UsageError if the directory cannot be read or holds no site.toml; SiteError
    if a file is not UTF-8.
    """
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    for name in FILES:
        try:
            data = (path / name).read_bytes()
        except FileNotFoundError as error:
            if name != FILES[0]:
                continue
            got = "no such file in it" if path.is_dir() else "no such directory"
            msg = f"site: expected a directory with {name}, got {path}: {got}"
            raise UsageError(msg) from error
        except OSError as error:
            msg = f"site: expected a readable {path / name}, got: {error.strerror}"
            raise UsageError(msg) from error
        try:
            texts[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8", errors="replace")
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            faults.append(Fault(name, line, column, f"expected UTF-8, got byte 0x{data[error.start]:02x}"))
    if faults:
        raise SiteError(faults)
    return texts


def check_site(path: Path) -> tuple[Site, list[Fault]]:
    """The site in directory `path` and its warnings; SiteError with every fault if it is wrong."""
    site, warnings = parse_site(read_texts(path))
    return site, list(warnings)


def read_site(path: Path) -> Site:
    """The site in directory `path`; SiteError with every fault if it is wrong."""
    return check_site(path)[0]


def open_site(path: Path) -> Site:
    """The site in directory `path`, for a command that is starting: warnings and faults go to stderr.

    A wrong site ends the command with exit code 2.
    """
    try:
        site, warnings = check_site(path)
    except SiteError as error:
        for fault in error.faults:
            typer.echo(line_of(fault), err=True)
        raise typer.Exit(2) from error
    for warning in warnings:
        typer.echo(f"warning: {line_of(warning)}", err=True)
    return site


def line_of(fault: Fault) -> str:
    """The line that people and editors read: ``file:line:column: message``."""
    return f"{fault.file}:{fault.line}:{fault.column}: {fault.message}"
