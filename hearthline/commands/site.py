"""`hearthline site`: look at a site directory before a server does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.site import Site
    from models.site_files import Fault

_COUNTED = ("regions", "units", "networks", "devices", "pipes", "places", "contracts", "vehicles")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Site directories. Example: hearthline site check site/")
    app.add_typer(group, name="site")

    @group.command()
    def check(
        directory: Annotated[Path, typer.Argument(help="Directory with site.toml and its tables.")],
        *,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    ) -> None:
        """Read a site directory and print every fault as file:line:column: message; exit 2 if there is one.

        Of its alerts.toml too, whose scopes are looked at once the registry is without a fault. Warnings go
        to stderr and do not fail.

        Example: hearthline site check site/
        """
        from alerts.rules_file import RulesError
        from hearthline.alerting import check_rules
        from hearthline.site_dir import check_site
        from models.site_files import SiteError

        site: Site | None = None
        faults: list[Fault] = []
        try:
            site, warnings = check_site(directory)
        except SiteError as error:
            faults, warnings = [*error.faults], error.warnings
        try:
            check_rules(directory, site)
        except RulesError as error:
            faults += error.faults
        if site is None or faults:
            told = {"ok": False, "faults": _objects(faults), "warnings": _objects(warnings)}
            typer.echo(_dumped(told) if as_json else "\n".join(map(str, faults)))
            _warn(() if as_json else warnings)
            raise typer.Exit(2)
        if as_json:
            typer.echo(_dumped(_summary(site, warnings)))
            return
        _warn(warnings)
        counts = ", ".join(f"{len(getattr(site, what))} {what}" for what in _COUNTED if getattr(site, what))
        typer.echo(f"{site.name}: {counts}")


def _warn(warnings: Iterable[Fault]) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _dumped(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _objects(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    return [asdict(fault) for fault in faults]


def _summary(site: Site, warnings: Iterable[Fault]) -> dict[str, Any]:
    return {
        "ok": True,
        "name": site.name,
        "timezone": site.timezone,
        **{what: len(getattr(site, what)) for what in _COUNTED},
        "streams": list(site.streams),
        "warnings": _objects(warnings),
    }
