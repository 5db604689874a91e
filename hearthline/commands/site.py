"""`hearthline site`: look at a site directory before a server does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

        Warnings go to stderr and do not fail.

        Example: hearthline site check site/
        """
        from hearthline.site_dir import check_site, line_of
        from models.site_files import SiteError

        try:
            site, warnings = check_site(directory)
        except SiteError as error:
            if as_json:
                typer.echo(json.dumps({"ok": False, "faults": [_object(f) for f in error.faults]}))
            else:
                typer.echo("\n".join(line_of(fault) for fault in error.faults))
            raise typer.Exit(2) from error
        if as_json:
            typer.echo(json.dumps(_summary(site, warnings), ensure_ascii=False))
            return
        for warning in warnings:
            typer.echo(f"warning: {line_of(warning)}", err=True)
        counts = ", ".join(f"{len(getattr(site, what))} {what}" for what in _COUNTED if getattr(site, what))
        typer.echo(f"{site.name}: {counts}")


def _object(fault: Fault) -> dict[str, str | int]:
    return {"file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message}


def _summary(site: Site, warnings: list[Fault]) -> dict[str, object]:
    return {
        "ok": True,
        "name": site.name,
        "timezone": site.timezone,
        **{what: len(getattr(site, what)) for what in _COUNTED},
        "streams": list(site.streams),
        "warnings": [_object(w) for w in warnings],
    }
