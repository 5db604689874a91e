"""Read a site directory: its files into texts, the texts into the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import typer

from hearthline.cli import UsageError
from models.site import Site
from models.site_files import Fault, SiteError, parse_site

__all__ = ["FILES", "check_site", "open_site", "read_site", "undecodable"]

FILES: Final = ("site.toml", "devices.csv", "pipes.csv", "places.csv", "contracts.csv", "vehicles.csv")
"""What a site directory may hold; only the first has to be there."""
RULES: Final = "alerts.toml"
"""Beside them: rules for alarms, which are none of the registry."""


def check_site(path: Path) -> tuple[Site, tuple[Fault, ...]]:
    """The site in directory `path` and its warnings.

    Raises
    ------
    UsageError
        If the directory cannot be read or holds no site.toml.
    SiteError
        With every fault, if the site is wrong.
    """
    texts: dict[str, str] = {}
    wrong: list[Fault] = []
    for name in FILES:
        data = _read(path, name)
        if data is None:
            continue
        try:
            texts[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            wrong.append(undecodable(name, data, error))
            texts[name] = data.decode("utf-8-sig", errors="replace")
    try:
        site, warnings = parse_site(texts)
    except SiteError as error:
        faults = sorted((*wrong, *error.faults), key=_in_order)
        raise SiteError(faults, (*_unread(path), *error.warnings)) from error
    if wrong:
        raise SiteError(wrong, (*_unread(path), *warnings))
    return site, (*_unread(path), *warnings)


def read_site(path: Path) -> Site:
    """The site in directory `path`; errors as of `check_site`."""
    return check_site(path)[0]


def open_site(path: Path) -> Site:
    """The site in directory `path`, for a command that starts.

    Warnings and faults go to stderr, a line each; a wrong site ends the
    command with exit code 2.
    """
    try:
        site, warnings = check_site(path)
    except SiteError as error:
        typer.echo("\n".join((*map(str, error.faults), *(f"warning: {w}" for w in error.warnings))), err=True)
        raise typer.Exit(2) from error
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    return site


def _read(path: Path, name: str) -> bytes | None:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        if name != FILES[0]:
            return None
        got = f"no {name} in it" if path.is_dir() else "no such directory"
        msg = f"site: expected a directory with {name}, got {path}: {got}"
        raise UsageError(msg) from error
    except OSError as error:
        msg = f"site: expected a readable {path / name}, got: {error.strerror}"
        raise UsageError(msg) from error


def undecodable(name: str, data: bytes, error: UnicodeDecodeError) -> Fault:
    """Where file `name` is not in UTF-8, and what to do; what Excel in Chinese leaves as CSV is GBK."""
    before = data[: error.start].decode("utf-8-sig")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    told = f"expected text in UTF-8, got byte 0x{data[error.start]:02x}"
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return Fault(name, line, column, f"{told}: save the file as UTF-8")
    return Fault(name, line, column, f"{told}, as in GBK: save the file as UTF-8 (in Excel: CSV UTF-8)")


def _unread(path: Path) -> list[Fault]:
    """A warning for each table that bears no known name: it may be misspelt."""
    names = sorted(file.name for file in path.iterdir() if file.suffix in {".csv", ".toml"})
    return [
        Fault(name, 1, 1, f"unknown file is not read; known are {', '.join(FILES)}")
        for name in names
        if name not in (*FILES, RULES)
    ]


def _in_order(fault: Fault) -> tuple[int, Fault]:
    return FILES.index(fault.file) if fault.file in FILES else len(FILES), fault
