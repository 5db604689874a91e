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

        Its alerts.toml is read once the registry is without one. Warnings go to stderr and do not fail.

        Example: hearthline site check site/
        """
        from alerts.rules_file import RulesError
        from hearthline.alerting import check_rules
        from hearthline.site_dir import check_site
        from models.site_files import SiteError

        try:
            site, warnings = check_site(directory)
            check_rules(directory, site)
        except (SiteError, RulesError) as error:
            typer.echo(_dumped({"ok": False, "faults": _objects(error.faults)}) if as_json else str(error))
            raise typer.Exit(2) from error
        if as_json:
            typer.echo(_dumped(_summary(site, warnings)))
            return
        for warning in warnings:
            typer.echo(f"warning: {warning}", err=True)
        counts = ", ".join(f"{len(getattr(site, what))} {what}" for what in _COUNTED if getattr(site, what))
        typer.echo(f"{site.name}: {counts}")


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
