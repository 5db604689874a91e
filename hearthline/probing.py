"""`/health`, `/ready` and `/metrics` of a process without a board, on a small port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from dashboards.probes import Probes, probe_app
from dashboards.serve import BindError, BoardServer
from hearthline.cli import UsageError

__all__ = ["answering"]


@contextmanager
def answering(probes: Probes, host: str, port: int | None) -> Iterator[None]:
    """Answer on `host` and `port` meanwhile, nowhere without a port; UsageError when that is taken."""
    if port is None:
        yield
        return
    try:
        server = BoardServer(probe_app(probes), host, port, "--metrics-port")
    except BindError as error:
        told = str(error).removeprefix("board: ")
        raise UsageError(f"metrics_port: {told}") from error
    server.start()
    typer.echo(f"metrics  {server.url}/metrics", err=True)
    try:
        yield
    finally:
        server.stop()
