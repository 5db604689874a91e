"""`hearthline store prepare`: buckets, retention, hourly figures and tokens of InfluxDB."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hearthline.cli import UsageError

if TYPE_CHECKING:
    from hearthline.settings import Settings
    from store.influx_admin import InfluxAdmin

__all__ = ["register"]

_HOUR_S: Final = 3600
_UNITS_S: Final = {"h": _HOUR_S, "d": 24 * _HOUR_S, "w": 7 * 24 * _HOUR_S}


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(no_args_is_help=True, help="InfluxDB of the distributed mode.", rich_markup_mode=None)
    app.add_typer(group, name="store")
    group.command(name="prepare")(_prepare)


def _prepare(
    influx: Annotated[str | None, typer.Option(help="InfluxDB 2, http(s)://host:port.")] = None,
    readings_for: Annotated[
        str, typer.Option(help="How long readings are kept: 400d, 26w, 0 for ever. Not less than the site's.")
    ] = "400d",
    results_for: Annotated[str, typer.Option(help="How long results are kept; 0 is for ever.")] = "0",
    hourly_for: Annotated[str, typer.Option(help="How long hourly figures of readings are kept.")] = "0",
    tokens: Annotated[
        Path | None, typer.Option(help="Directory that gets a token for each service that has none there.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Make InfluxDB's buckets with their retention, the tasks that keep hourly figures, and tokens.

    It needs a token that may do so (HEARTHLINE_INFLUX_TOKEN or HEARTHLINE_INFLUX_TOKEN_FILE); each service
    gets one that may read or write what it has to. Running it again changes what differs and deletes nothing.

    Example: HEARTHLINE_INFLUX_TOKEN_FILE=secrets/influx_admin_token hearthline store prepare
    --influx http://127.0.0.1:8086 --readings-for 90d --tokens secrets
    """
    from hearthline.settings import load_settings
    from store.influx_admin import Bucket, InfluxAdmin
    from store.protocol import StoreError

    settings = load_settings({"influx_url": influx}, config)
    results, readings, hourly = _names(settings)
    wanted = [
        Bucket(results, seconds("--results-for", results_for)),
        Bucket(readings, seconds("--readings-for", readings_for)),
        Bucket(hourly, seconds("--hourly-for", hourly_for)),
    ]
    if readings == results:  # one bucket for both keeps both as long as results
        del wanted[1]
    from store.downsampling import tasks

    url, token = settings.influx_login()
    admin = InfluxAdmin(url, settings.influx_org, token)
    try:
        done = admin.prepare(wanted, tasks(readings, hourly))
        if tokens is not None:
            done |= _tokens(admin, tokens, settings)
    except StoreError as error:
        typer.echo(f"hearthline: {error}", err=True)
        raise typer.Exit(1) from error
    finally:
        admin.close()
    typer.echo(json.dumps(done) if as_json else "\n".join(f"{what}: {how}" for what, how in done.items()))


def _names(settings: Settings) -> tuple[str, str, str]:
    results = settings.influx_bucket
    return results, settings.influx_readings_bucket or results, f"{results}_hourly"


def _tokens(admin: InfluxAdmin, directory: Path, settings: Settings) -> dict[str, str]:
    from hearthline.secret_files import INFLUX_TOKENS, write_secret

    results, readings, hourly = _names(settings)
    both = tuple(dict.fromkeys((results, readings)))
    rights = {
        "influx_worker_token": (both, both),
        "influx_alerts_token": (both, (results,)),
        "influx_board_token": (both, ()),
        "influx_grafana_token": ((*both, hourly), ()),
    }
    assert rights.keys() == set(INFLUX_TOKENS)
    done = {}
    for name, (reads, writes) in rights.items():
        path = directory / name
        if path.exists():
            done[f"token {name}"] = "there"
            continue
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_secret(path, admin.token(name.removesuffix("_token"), reads, writes))
        except OSError as error:
            msg = f"--tokens: expected a directory that can be written, got {directory}: {error.strerror}"
            raise UsageError(msg) from error
        done[f"token {name}"] = "made"
    return done


def seconds(option: str, text: str) -> int:
    """A time to keep something; 0 is for ever. [s]

    Examples
    --------
    >>> seconds("--readings-for", "26w")
    15724800
    """
    found = re.fullmatch(r"(\d{1,6})([hdw])|0", text.strip())
    if found is None:
        raise UsageError(
            f"{option}: expected hours, days or weeks such as 72h, 400d, 26w, or 0, got {text!r}"
        )
    return int(found[1]) * _UNITS_S[found[2]] if found[1] else 0
