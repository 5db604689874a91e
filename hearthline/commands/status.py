"""`hearthline status`: health, ledger and rows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from models.wording import lasting

__all__ = ["register"]

_PATIENCE_S: Final = 20.0  # a server that hangs is to be known as one within half a minute


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def status(
        data_dir: Annotated[Path | None, typer.Option(help="Data directory of a server.")] = None,
        url: Annotated[str | None, typer.Option(help="Board of a running server.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
        check: Annotated[bool, typer.Option("--check", help="Exit 1 unless every part is ok.")] = False,
    ) -> None:
        """Say how a server fares: its parts, what waits at each stage, the ledger, rows by measurement.

        Of a part that is not ok it says why, since when, how far behind it is and what to do. Of `ingest`
        and `worker` it is asked at their metrics_port.
        Where a server owns the data directory it is asked; else the files are read.

        Example: hearthline status --data-dir hearthline-data
        """
        from hearthline.cli import UsageError
        from hearthline.client import ServerClient, ServerError, owner

        if (data_dir is None) == (url is None):
            raise UsageError("status: expected one of --data-dir and --url")
        try:
            client = (
                ServerClient(url) if url is not None else owner(data_dir) if data_dir is not None else None
            )
        except ValueError as error:
            raise UsageError(f"url: {error}") from error
        try:
            said = (
                replace(client, timeout_s=_PATIENCE_S).status()
                if client is not None
                else _from_files(data_dir or Path())
            )
        except ServerError as error:
            typer.echo(f"hearthline: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(json.dumps(said) if as_json else _text(said))
        if check and any(part["state"] != "ok" for part in said["components"]):
            raise typer.Exit(1)


def _from_files(data_dir: Path) -> dict[str, Any]:
    from hearthline.cli import UsageError
    from hearthline.health import ledger_totals
    from store.duckdb_series import DuckdbSeries
    from store.protocol import StoreError

    path = data_dir / "series.duckdb"
    if not path.exists():
        raise UsageError(f"data-dir: expected a directory that a server has written to, got {data_dir}")
    try:
        store = DuckdbSeries(path, read_only=True)
    except StoreError as error:
        raise UsageError(str(error)) from error
    try:
        return {
            "components": [{"name": "server", "state": "stopped", "detail": f"no server owns {data_dir}"}],
            "ledger": ledger_totals(store),
            "rows": store.counts(),
        }
    finally:
        store.close()


def _text(said: dict[str, Any]) -> str:
    lines = [f"{part['name']:<10} {part['state']:<10} {part['detail']}" for part in said["components"]]
    lines += [
        f"{'':<10} {'to do':<10} {part['advice']}"
        for part in said.get("degraded", said["components"])  # a process that says no more says it there
        if part["state"] != "ok" and part.get("advice")
    ]
    if "lag" in said:
        lines += ["", *_lag(said)]
    elif waits := [_waits(part) for part in said["components"] if part.get("stage")]:
        lines += ["", *waits]
    if "ledger" in said:  # a process without a store knows of its own parts alone
        lines += ["", "ledger: " + ", ".join(f"{name} {count:,}" for name, count in said["ledger"].items())]
        lines += [f"  {name:<16} {count:>12,} rows" for name, count in sorted(said["rows"].items())]
    return "\n".join(lines)


def _waits(part: dict[str, Any]) -> str:
    """What waits for a stage, of a process that says it with its parts."""
    what = "messages" if part["stage"] == "journalled" else "records"
    queued, lag_s = part.get("queued"), part.get("lag_s")
    told = "unknown" if queued is None else f"{queued:,.0f} {what}"
    late = "" if lag_s is None else f", {lasting(lag_s)}"
    return f"not yet {part['stage']} ({part['name']}): {told}{late}"


def _lag(said: dict[str, Any]) -> list[str]:
    lines = []
    for stage, wait in said["lag"].items():
        records = f", {wait['records']:,} records" if "records" in wait else ""
        lines.append(f"not yet {stage}: {wait['messages']:,} messages{records}, {lasting(wait['seconds'])}")
    for stream, now in said.get("now", {}).items():
        age = "on the data clock" if now["age_s"] is None else f"{lasting(now['age_s'])} ago"
        lines.append(f"now of {stream}: {_utc(now['now'])}, {age}")
    lines += [
        f"yet to be restated in {stream}: {quarters:,} quarters of an hour of devices and networks"
        for stream, quarters in said.get("restating", {}).items()
        if quarters
    ]
    lines += [
        f"{stream} catches up from {_utc(leap['from'])} to {_utc(leap['to'])}: "
        f"windows are closed to {_utc(leap['done'])}"
        for stream, leap in said.get("leaps", {}).items()
    ]
    lines += [
        f"{failure['operator']} cannot compute {failure['subject']} of {stream} since "
        f"{_utc(failure['first'])}, which is unknown: {failure['error']}"
        for stream, failures in said.get("failing", {}).items()
        for failure in failures
    ]
    return lines


def _utc(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
