"""The one session of a database that may write its records: a lock and the writes that it guards together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

__all__ = ["SoleWriter", "TakenError"]

_WRITING: Final = 0x6865_6172
"""PostgreSQL's advisory lock of who keeps the records of this database."""
_HOLDER: Final = sa.text(
    "SELECT coalesce(host(client_addr), 'this machine') AS place, backend_start AS since "
    "FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks "
    "WHERE locktype = 'advisory' AND granted AND objid = :lock "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_log = logging.getLogger(__name__)


class TakenError(Exception):
    """Another process keeps the records; says from where and since when."""


class SoleWriter:
    """Writes in a session that holds the lock: whose session is lost has lost the right to write with it.

    Two that keep one site's records would tell people everything twice. A lock that is asked for beside
    the writes could be lost between the question and the write; here what ends the one ends the other.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of PostgreSQL.
    """

    def __init__(self, engine: sa.Engine):
        self._engine = engine
        self._session: sa.Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction; TakenError when somebody else holds the lock."""
        session = self._held()
        with session.begin():
            yield session

    def _held(self) -> sa.Connection:
        if self._session is not None:
            try:
                with self._session.begin():
                    self._session.execute(sa.text("SELECT 1"))
            except SQLAlchemyError as error:
                _log.info("the session of the records is gone, another is opened: %s", type(error).__name__)
                self.close()
            else:
                return self._session
        session = self._engine.connect()
        try:
            with session.begin():
                if not session.execute(sa.select(sa.func.pg_try_advisory_lock(_WRITING))).scalar():
                    raise TakenError(_taken(session.execute(_HOLDER, {"lock": _WRITING}).first()))
        except BaseException:
            session.close()
            raise
        self._session = session
        return session

    def close(self) -> None:
        """Give the lock back, and the session with it."""
        if self._session is not None:
            self._session.invalidate()  # a session that went back into the pool would keep the lock
            self._session.close()
            self._session = None


def _taken(holder: sa.Row[tuple[str, datetime]] | None) -> str:
    """What is said of who holds the lock; nobody when that one has just gone."""
    got = f"one on {holder.place}, there since {holder.since:%Y-%m-%d %H:%M:%S} UTC" if holder else "one"
    return f"expected to be the only one that keeps these records, got {got}: stop that one first"
