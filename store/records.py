"""Records of what people did and were told: SQLite on one machine, PostgreSQL else, by the same code.

What stands here can be made again from the journal and the results; it is kept so that nothing has to be,
and so that what happened to an alarm, the word about it and the fact that it was sent are one transaction.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from models.results import SinkUnavailableError
from models.wording import worded
from store.database import Text, database_url, open_engine
from store.sole_writer import SoleWriter, TakenError

__all__ = ["Batch", "Records", "RecordsError"]

_META: Final = sa.MetaData()
ALARM: Final = sa.Table(
    "alarm", _META, sa.Column("id", Text, primary_key=True), sa.Column("subject", Text),
    sa.Column("code", Text), sa.Column("phase", Text), sa.Column("since_ms", sa.BigInteger),
    sa.Column("body", sa.JSON),
)  # fmt: skip
EVENT: Final = sa.Table(
    "alarm_event", _META, sa.Column("alarm_id", Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True), sa.Column("at_ms", sa.BigInteger),
    sa.Column("body", sa.JSON),
)  # fmt: skip
KEY: Final = sa.Table(
    "alarm_key", _META, sa.Column("key", Text, primary_key=True), sa.Column("alarm_id", Text)
)
MAINTENANCE: Final = sa.Table(
    "maintenance", _META, sa.Column("id", Text, primary_key=True), sa.Column("body", sa.JSON)
)
INBOX: Final = sa.Table(
    "inbox", _META, sa.Column("seq", sa.BigInteger, primary_key=True), sa.Column("body", sa.JSON)
)
PROGRESS: Final = sa.Table(
    "progress", _META, sa.Column("name", Text, primary_key=True), sa.Column("value", sa.BigInteger)
)
LETTER: Final = sa.Table(
    "letter", _META, sa.Column("id", Text, primary_key=True), sa.Column("recipient", Text),
    sa.Column("alarm_id", Text), sa.Column("due_ms", sa.BigInteger), sa.Column("delivery", Text),
    sa.Column("body", sa.JSON),
)  # fmt: skip
DELIVERY: Final = sa.Table(
    "delivery", _META, sa.Column("id", Text, primary_key=True), sa.Column("recipient", Text),
    sa.Column("channel", Text), sa.Column("state", Text), sa.Column("made_ms", sa.BigInteger),
    sa.Column("next_ms", sa.BigInteger), sa.Column("attempts", sa.Integer), sa.Column("error", Text),
    sa.Column("ended_ms", sa.BigInteger), sa.Column("body", sa.JSON),
)  # fmt: skip
_NEWEST: Final = "r0001"
"""The last of the steps in `migrations`."""
_UPGRADING: Final = 0x4865_6172
"""PostgreSQL's advisory lock of who brings the tables up to date."""
_ONE_AT_A_TIME: Final = threading.Lock()
"""Alembic's environment is one for the whole process."""
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
Row = dict[str, Any]


class RecordsError(SinkUnavailableError):
    """The records cannot be read or written; says which and why. The same call may succeed later."""


@dataclass(slots=True)
class Batch:
    """What is written in one transaction.

    Attributes
    ----------
    alarms, events, letters : list of dict
        Rows by the columns of their tables; an event or a letter that is there already stays as it is.
    keys : dict of str to str
        Id of the alarm by the key of a condition.
    maintenance : dict of str to dict or None
        By id; None takes it away.
    progress : dict of str to int
    taken : int
        The inbox is emptied up to this number.
    withdrawn : list of str
        Alarms of which nobody is to be told what waits.
    """

    alarms: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    letters: list[Row] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    maintenance: dict[str, Row | None] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)
    taken: int = 0
    withdrawn: list[str] = field(default_factory=list)


class Records:
    """The records of one data directory, or of one database.

    Parameters
    ----------
    where : Path or str
        A SQLite file, or the URL of a database, such as ``postgresql://hearthline@db/hearthline``.
    password : str, optional
        Of that database; in no message.
    alone : bool
        Whether nobody else may write them meanwhile: the desk's. A SQLite file is in a data directory, which
        has one owner anyhow.
    """

    def __init__(self, where: Path | str, password: str | None = None, *, alone: bool = False):
        self._shown = str(where)
        # SQLite has one writer; waiting here costs less than its retries. In PostgreSQL it keeps the numbers
        # of the inbox in the order in which they can be seen.
        self._lock = threading.RLock()
        try:
            url = database_url(where, password)
            self._shown = url.render_as_string(hide_password=True)
            self._engine = open_engine(url)
            self._upgrade()
        except (SQLAlchemyError, OSError) as error:
            msg = f"{self._shown}: expected records that this program may own: {_line(error)}"
            raise RecordsError(msg) from error
        self._sole = SoleWriter(self._engine) if alone and url.get_backend_name() == "postgresql" else None
        if self._sole is not None:
            try:
                with self._write():
                    pass
            except RecordsError:
                self.close()
                raise

    def _upgrade(self) -> None:
        """Bring the tables up to date, step by step."""
        if self._version() == _NEWEST:
            return
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each plugin and step else
        # Only where there is something to do: it takes a noticeable time to load.
        from alembic.config import Config  # noqa: PLC0415
        from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
        from alembic.script import ScriptDirectory  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.set_main_option("path_separator", "os")
        script = ScriptDirectory.from_config(config)
        with (
            _ONE_AT_A_TIME,
            self._engine.begin() as connection,
            EnvironmentContext(config, script) as environment,
        ):
            if connection.dialect.name == "postgresql":  # of several that start at once the first does it
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_UPGRADING})"))
            known = {step.revision for step in script.walk_revisions()}
            version = self._version(connection)
            if version and version not in known:
                msg = (
                    f"{self._shown}: expected records of a version up to {_NEWEST}, got {version}: a newer "
                    "program made them; install that one again, or start on a copy from before it"
                )
                raise RecordsError(msg)
            environment.configure(
                connection=connection,
                target_metadata=_META,
                fn=lambda revision, _context: script._upgrade_revs("head", revision),  # noqa: SLF001  as Alembic's own command does
            )
            environment.run_migrations()

    def _version(self, connection: sa.Connection | None = None) -> str:
        """The step that the tables are at; empty when there are none."""
        if connection is None:
            with self._engine.connect() as own:
                return self._version(own)
        if not sa.inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "")

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        try:
            with self._lock, (self._sole or self._engine).begin() as connection:
                yield connection
        except TakenError as error:
            raise RecordsError(worded("{where}: {why}", where=self._shown, why=str(error))) from error
        except (SQLAlchemyError, OSError) as error:
            msg = worded("{where}: cannot be written now: {why}", where=self._shown, why=_line(error))
            raise RecordsError(msg) from error

    def _read(self, query: sa.Select[Any]) -> list[Row]:
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except (SQLAlchemyError, OSError) as error:
            msg = worded("{where}: cannot be read now: {why}", where=self._shown, why=_line(error))
            raise RecordsError(msg) from error

    # -- conditions on their way in ------------------------------------------------------------

    def receive(self, bodies: Sequence[Row], progress: Mapping[str, int] | None = None) -> None:
        """Keep conditions until they are taken into alarms, and how far their sources were taken in."""
        if bodies or progress:
            with self._write() as connection:
                if bodies:
                    connection.execute(sa.insert(INBOX), [{"body": body} for body in bodies])
                _upsert(connection, PROGRESS, [{"name": n, "value": v} for n, v in (progress or {}).items()])

    def inbox(self, limit: int = 5_000) -> list[tuple[int, Row]]:
        """What was received and not taken, in order, with its number."""
        rows = self._read(sa.select(INBOX).order_by(INBOX.c.seq).limit(limit))
        return [(row["seq"], row["body"]) for row in rows]

    # -- alarms ----------------------------------------------------------------------------------

    def alarms(self, closed_after_ms: int) -> list[Row]:
        """Open alarms and those closed since, with ``events``."""
        query = sa.select(ALARM).where((ALARM.c.phase != "closed") | (ALARM.c.since_ms >= closed_after_ms))
        return self._with_events(self._read(query))

    def alarm_of_key(self, key: str) -> Row | None:
        """The alarm that a condition belongs to, with ``events``."""
        query = sa.select(ALARM).join(KEY, KEY.c.alarm_id == ALARM.c.id).where(KEY.c.key == key)
        rows = self._with_events(self._read(query))
        return rows[0] if rows else None

    def _with_events(self, rows: list[Row]) -> list[Row]:
        found: dict[str, list[Row]] = {row["id"]: [] for row in rows}
        ids = list(found)
        for start in range(0, len(ids), 500):
            some = EVENT.c.alarm_id.in_(ids[start : start + 500])
            for event in self._read(sa.select(EVENT).where(some).order_by(EVENT.c.alarm_id, EVENT.c.n)):
                found[event["alarm_id"]].append(event["body"])
        return [{**row["body"], "events": found[row["id"]]} for row in rows]

    def notes(self, from_ms: int, to_ms: int, kinds: Collection[str], most: int = 200_000) -> list[Row]:
        """What of these kinds happened to alarms in [from_ms, to_ms), in order; the newest where it is more.

        Each has ``alarm_id``, ``at_ms``, ``note``, and of its alarm `subject`, `code`, `unit` and `region`.
        """
        note = EVENT.c.body["note"].as_string()
        of_alarm = [ALARM.c.body[name].as_string().label(name) for name in ("unit", "region")]
        query = (
            sa.select(
                EVENT.c.alarm_id, EVENT.c.at_ms, note.label("note"), ALARM.c.subject, ALARM.c.code, *of_alarm
            )
            .join(ALARM, ALARM.c.id == EVENT.c.alarm_id)
            .where(EVENT.c.at_ms >= from_ms, EVENT.c.at_ms < to_ms, note.in_(sorted(kinds)))
            .order_by(EVENT.c.at_ms.desc(), EVENT.c.alarm_id.desc(), EVENT.c.n.desc())
            .limit(most)
        )
        return self._read(query)[::-1]

    def newest_ms(self) -> int:
        """When something last happened to an alarm; 0 when nothing ever did. [ms UTC]"""
        return int(self._read(sa.select(sa.func.max(EVENT.c.at_ms).label("newest")))[0]["newest"] or 0)

    def maintenance(self) -> list[Row]:
        """What is being maintained."""
        return [row["body"] for row in self._read(sa.select(MAINTENANCE))]

    def progress(self, name: str) -> int | None:
        """How far a source was taken in; None when nothing of it was."""
        rows = self._read(sa.select(PROGRESS.c.value).where(PROGRESS.c.name == name))
        return rows[0]["value"] if rows else None

    def progresses(self, prefix: str) -> dict[str, int]:
        """How far each source whose name begins so was taken in, by the rest of its name."""
        mine = PROGRESS.c.name.startswith(prefix, autoescape=True)
        rows = self._read(sa.select(PROGRESS).where(mine))
        return {row["name"].removeprefix(prefix): row["value"] for row in rows}

    def save(self, batch: Batch) -> None:
        """Write all of a batch, or nothing of it."""
        with self._write() as connection:
            _upsert(connection, ALARM, batch.alarms)
            _upsert(connection, EVENT, batch.events, keep=True)
            _upsert(connection, KEY, [{"key": k, "alarm_id": a} for k, a in batch.keys.items()])
            _upsert(connection, PROGRESS, [{"name": n, "value": v} for n, v in batch.progress.items()])
            for name, body in batch.maintenance.items():
                connection.execute(sa.delete(MAINTENANCE).where(MAINTENANCE.c.id == name))
                if body is not None:
                    connection.execute(sa.insert(MAINTENANCE).values(id=name, body=body))
            for start in range(0, len(batch.withdrawn), 500):
                mine = LETTER.c.alarm_id.in_(batch.withdrawn[start : start + 500])
                connection.execute(sa.delete(LETTER).where(mine, LETTER.c.delivery == ""))
            _upsert(connection, LETTER, batch.letters, keep=True)
            if batch.taken:
                connection.execute(sa.delete(INBOX).where(INBOX.c.seq <= batch.taken))

    # -- messages on their way out -----------------------------------------------------------------

    def letters(self) -> list[Row]:
        """Letters that are in no delivery yet, in order."""
        query = sa.select(LETTER).where(LETTER.c.delivery == "").order_by(LETTER.c.due_ms, LETTER.c.id)
        return self._read(query)

    def send(self, deliveries: Sequence[Row], letters: Mapping[str, str]) -> None:
        """Put letters (by id) into deliveries, in one transaction."""
        with self._write() as connection:
            _upsert(connection, DELIVERY, deliveries, keep=True)
            for letter, delivery in letters.items():
                connection.execute(sa.update(LETTER).where(LETTER.c.id == letter).values(delivery=delivery))

    def deliveries(self, *states: str, channel: str = "", since_ms: int = 0) -> list[Row]:
        """Deliveries in one of `states`, of one channel if given, in order of their next attempt."""
        query = sa.select(DELIVERY).where(DELIVERY.c.state.in_(states), DELIVERY.c.made_ms >= since_ms)
        if channel:
            query = query.where(DELIVERY.c.channel == channel)
        return self._read(query.order_by(DELIVERY.c.next_ms, DELIVERY.c.id))

    def sent_to(self, recipient: str, since_ms: int) -> int:
        """How many deliveries were made for somebody since then."""
        query = sa.select(sa.func.count()).select_from(DELIVERY)
        mine = query.where(DELIVERY.c.recipient == recipient, DELIVERY.c.made_ms >= since_ms)
        return int(self._read(mine)[0]["count_1"])

    def update(self, delivery: str, **changes: Any) -> None:
        """Change columns of one delivery."""
        with self._write() as connection:
            connection.execute(sa.update(DELIVERY).where(DELIVERY.c.id == delivery).values(**changes))

    def expire(self, before_ms: int) -> None:
        """Delete messages that ended before then, with their letters; what happened to alarms stays."""
        old = sa.select(DELIVERY.c.id).where(DELIVERY.c.ended_ms < before_ms)
        with self._write() as connection:
            connection.execute(sa.delete(LETTER).where(LETTER.c.delivery.in_(old)))
            connection.execute(sa.delete(DELIVERY).where(DELIVERY.c.ended_ms < before_ms))

    def close(self) -> None:
        """Release the database."""
        if self._sole is not None:
            self._sole.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def upsert(dialect: str, table: sa.Table, names: Iterable[str], *, keep: bool) -> Any:
    """An insert that replaces a row of the same key, or keeps it, in SQLite and PostgreSQL alike."""
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: insert.excluded[name] for name in names if name not in keys}
    if keep or not rest:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_=rest)


def _upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row], *, keep: bool = False) -> None:
    if rows:
        connection.execute(upsert(connection.dialect.name, table, rows[0], keep=keep), list(rows))


_DAMAGED = ("malformed", "not a database")
_ANEW = "move it away and start again, it is made anew from stored conditions of 30 days and the journal"


def _line(error: BaseException) -> str:
    """The first line of a library's message: its own query text follows. Of a damaged file what to do."""
    cause = getattr(error, "orig", None) or error
    line = (str(cause).strip().splitlines() or [type(error).__name__])[0]
    damaged = isinstance(cause, sqlite3.DatabaseError) and any(words in line for words in _DAMAGED)
    return f"{line}: {_ANEW}" if damaged else line
