"""`hearthline dashboards`: the panels as Grafana dashboards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hearthline.cli import UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the group `dashboards`."""
    group = typer.Typer(
        help="Dashboards for Grafana, from the same panels as the live board.", no_args_is_help=True
    )
    app.add_typer(group, name="dashboards")

    @group.command(epilog="Example: hearthline dashboards export --out grafana/dashboards")
    def export(
        out: Annotated[Path, typer.Option(help="Folder to write to; one folder a language is made in it.")],
        bucket: Annotated[str, typer.Option(help="InfluxDB bucket of results.")] = "hearthline",
        readings_bucket: Annotated[
            str, typer.Option(help="InfluxDB bucket of readings.")
        ] = "hearthline_readings",
        as_json: Annotated[bool, typer.Option("--json", help="Print the files written as JSON.")] = False,
    ) -> None:
        """Write every page as a Grafana dashboard's JSON, in Chinese and English."""
        import json

        from dashboards.grafana import export as write

        try:
            files = write(out, bucket, readings_bucket)
        except OSError as error:
            msg = f"--out {out}: expected a folder that can be written: {error}"
            raise UsageError(msg) from error
        if as_json:
            typer.echo(json.dumps({"files": [str(f) for f in files]}, ensure_ascii=False))
        else:
            for file in files:
                typer.echo(str(file))

    @group.command(epilog="Example: hearthline dashboards check grafana/dashboards")
    def check(
        folder: Annotated[Path, typer.Argument(help="Folder that `export` wrote.")],
        bucket: Annotated[str, typer.Option(help="InfluxDB bucket of results.")] = "hearthline",
        readings_bucket: Annotated[
            str, typer.Option(help="InfluxDB bucket of readings.")
        ] = "hearthline_readings",
    ) -> None:
        """Tell whether exported dashboards are what the panels say now; exit 1 when one is not."""
        from dashboards.grafana import drifted

        wrong = drifted(folder, bucket, readings_bucket)
        for file in wrong:
            state = "differs from the panels" if file.is_file() else "is missing"
            typer.echo(f"{file} {state}: run hearthline dashboards export --out {folder}", err=True)
        if wrong:
            raise typer.Exit(1)
