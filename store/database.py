"""The database behind the records: a SQLite file or a PostgreSQL, made durable and bounded in its waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

__all__ = ["Text", "database_url", "open_engine"]

_CONNECT_S: Final = 10
_STATEMENT_MS: Final = 30_000
_LOCK_MS: Final = 10_000


class Text(sa.types.TypeDecorator[str]):
    """Text that every database takes: PostgreSQL has no NUL in it, neither has a lone surrogate."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002  its interface
        """Put the replacement character where something cannot be said."""
        if value is None:
            return None
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def database_url(where: Path | str, password: str | None = None) -> sa.URL:
    """The URL of a SQLite file, or that of a database with its driver and password.

    Examples
    --------
    >>> database_url("postgresql://hearthline@db/hearthline", "x").render_as_string(hide_password=True)
    'postgresql+psycopg://hearthline:***@db/hearthline'
    """
    if isinstance(where, Path):
        return sa.URL.create("sqlite", database=str(where))
    url = sa.make_url(where)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url if password is None else url.set(password=password)


def open_engine(url: sa.URL) -> sa.Engine:
    """An engine whose commits are on disk, and whose connections and statements do not wait for ever."""
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url)
        sa.event.listen(engine, "connect", _sqlite)
        return engine
    settings = {
        "synchronous_commit": "on",
        "statement_timeout": _STATEMENT_MS,
        "lock_timeout": _LOCK_MS,
        "idle_in_transaction_session_timeout": 2 * _STATEMENT_MS,
        "timezone": "UTC",
    }
    return sa.create_engine(
        url,
        pool_pre_ping=True,  # a server that was started again has closed what waits in the pool
        pool_timeout=_CONNECT_S,
        connect_args={
            "application_name": "hearthline",
            "connect_timeout": _CONNECT_S,
            "tcp_user_timeout": _STATEMENT_MS,  # a network that swallows everything
            "keepalives_idle": 30,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


def _sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA busy_timeout = 10000")
    cursor.close()
