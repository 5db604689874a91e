"""Where `query` and `dead-letters` get rows: a server's, or a data directory that no server owns."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from hearthline.cli import UsageError
from hearthline.client import ServerClient, ServerError, ServerUnreachableError, owner

if TYPE_CHECKING:
    import pyarrow as pa

    from store.protocol import Select

__all__ = ["DataDir", "Url", "fail", "server", "source"]

_TOKEN: Final = "HEARTHLINE_TOKEN"  # noqa: S105  the name of a variable

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data directory of `up` or `demo`; its server is asked where one runs.", show_default=False
    ),
]
Url = Annotated[
    str | None,
    typer.Option(help=f"A running server, such as http://127.0.0.1:8080; its token comes from {_TOKEN}."),
]


def fail(reason: object) -> NoReturn:
    """End with exit code 1 and one line on stderr."""
    typer.echo(f"hearthline: {reason}", err=True)
    raise typer.Exit(1)


def server(data_dir: Path | None, url: str | None) -> ServerClient | None:
    """The server to ask, if there is one; UsageError where the options name no place."""
    if (data_dir is None) == (url is None):
        got = "neither" if url is None else "both"
        msg = f"expected one of --data-dir and --url, got {got}"
        raise UsageError(msg)
    if url is not None:
        try:
            return ServerClient(url, os.environ.get(_TOKEN, ""))
        except ValueError as error:
            msg = f"--url: {error}"
            raise UsageError(msg) from error
    assert data_dir is not None
    return owner(data_dir)


@contextlib.contextmanager
def source(data_dir: Path | None, url: str | None) -> Iterator[Callable[[Select], pa.Table]]:
    """A function that answers questions; a refusal or an unreachable place is exit code 1."""
    from store.protocol import StoreError

    asked = server(data_dir, url)
    try:
        with contextlib.ExitStack() as stack:
            yield stack.enter_context(_local(data_dir)) if asked is None else _first(asked, data_dir, stack)
    except (StoreError, ServerError) as error:
        fail(error)


def _first(
    asked: ServerClient, data_dir: Path | None, stack: contextlib.ExitStack
) -> Callable[[Select], pa.Table]:
    """Ask the server; where its process number belongs to somebody else by now, read the file instead."""

    def ask(query: Select) -> pa.Table:
        try:
            return asked.query(query)
        except ServerUnreachableError:
            if data_dir is None:
                raise
            return stack.enter_context(_local(data_dir))(query)

    return ask


@contextlib.contextmanager
def _local(data_dir: Path | None) -> Iterator[Callable[[Select], pa.Table]]:
    from store.duckdb_series import SERIES_FILE, DuckdbSeries

    assert data_dir is not None
    path = data_dir / SERIES_FILE
    if not path.is_file():
        msg = f"--data-dir: expected a directory with {SERIES_FILE}, got {data_dir}"
        raise UsageError(msg)
    store = DuckdbSeries(path, read_only=True)
    try:
        yield store.select
    finally:
        store.close()
