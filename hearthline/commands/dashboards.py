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

    @group.command(
        epilog="Example: hearthline dashboards push --site site --url https://grafana --token-file t"
    )
    def push(
        site: Annotated[Path, typer.Option(help="Site directory, for its regions and units.")],
        url: Annotated[str, typer.Option(help="Grafana's address.")],
        token_file: Annotated[
            Path, typer.Option(help="File with the token of a service account, an Editor.")
        ],
        bucket: Annotated[str, typer.Option(help="InfluxDB bucket of results.")] = "hearthline",
        readings_bucket: Annotated[
            str, typer.Option(help="InfluxDB bucket of readings.")
        ] = "hearthline_readings",
        as_json: Annotated[bool, typer.Option("--json", help="Print what became of each as JSON.")] = False,
    ) -> None:
        """Put every page into a running Grafana: a folder for each region and unit, narrowed to it.

        Running it again changes what differs, and deletes nothing.
        """
        import json
        from dataclasses import asdict

        from dashboards.grafana_push import Pushed, PushError
        from dashboards.grafana_push import push as put
        from hearthline.site_dir import open_site

        registry, token = open_site(site), _token(token_file)
        done = Pushed()
        try:
            put(registry, url, token, bucket, readings_bucket, done)
        except PushError as error:
            typer.echo(f"hearthline: {error}", err=True)
            raise typer.Exit(1) from error
        finally:
            counts = {how: len(titles) for how, titles in asdict(done).items()}
            typer.echo(json.dumps(asdict(done), ensure_ascii=False) if as_json else _counted(counts))


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--token-file {path}: expected a file with a token: {error}"
        raise UsageError(msg) from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        msg = f"--token-file {path}: expected one token, got {'nothing' if not token else 'other characters'}"
        raise UsageError(msg)
    return token


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {how}" for how, count in counts.items())
