"""What ingest says of its parts on its way to the store, where it has no login: by Kafka and a worker."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Annotated, Any, Final, Literal, Protocol, Self

import orjson
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hearthline.parts_told import PART, WORDS, KeepsRows, outputs_of, parts_table
from journal.kafka_log import MissingTopicError
from journal.protocol import Append, JournalError
from models.frame import Record
from models.results import Outputs, SinkError, SinkUnavailableError
from models.wording import heard

__all__ = ["PartName", "PartsByKafka", "PartsRelay", "relayed"]

_WAIT_S: Final = 1.0
_AGAIN_S: Final = 10.0
_MISSING_S: Final = 60.0
_PATIENCE_S: Final = 3.0
_MOST_BYTES: Final = 32 * 1024
_MOST_PROCESSES: Final = 32
_FORGOTTEN_MS: Final = 900_000
_MOST_SAID: Final = 8
_DEEPEST: Final = 6
_PROCESS: Final = re.compile(r"ingest [\w.:-]{1,200} \d{1,10}", re.ASCII)
_LENGTH: Final = 2_000
_SHOWN: Final = 80

_NO_DATE_MS: Final = 253_402_300_800_000  # the year 10000, which calendars of programs do not have

PartName = Literal["broker", "ingest", "journal"]
"""Parts that an ingest has: each other name would be a row more in the store, and a line more on boards."""

_log = logging.getLogger(__name__)


class Appends(Protocol):
    """Takes records in order, as `journal.kafka.KafkaJournal` does."""

    def append(self, items: Sequence[Append]) -> object:
        """JournalError if one could not be kept."""
        ...


class Follows(Protocol):
    """A log that can be followed, as `journal.kafka_log.KafkaLog`."""

    def bounds(self) -> tuple[int, int]:
        """First offset that is kept, and the next that will be given."""
        ...

    def follow(self, after: int, limit: int = 1000, wait_s: float = 0.5) -> list[Record]:
        """What came after an offset."""
        ...


class _Said(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: PartName
    state: Literal["starting", "ok", "degraded", "failed", "stopped"]
    since: Annotated[int, Field(ge=0, lt=_NO_DATE_MS)] | None = None
    stage: Literal["journalled"] | None = None
    queued: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    lag_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    detail: Any = None
    what: Any = None
    reason: Any = None
    advice: Any = None


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    v: Literal[1]
    parts: Annotated[list[_Said], Field(max_length=16)]


class PartsByKafka:
    """Takes what `PartsTold` tells in the place of a store, and appends it to topic `parts`.

    Parameters
    ----------
    log : Appends
        That of the topic.
    process : str
        As of `PartsTold`; the key of each record.
    """

    def __init__(self, log: Appends, process: str) -> None:
        self._log, self._process = log, process

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Append it; SinkUnavailableError if Kafka does not take it."""
        items = [
            Append(self._process, _told(table), None) for out in outputs for table in out.rows.get(PART, ())
        ]
        try:
            self._log.append(items)
        except JournalError as error:
            raise SinkUnavailableError(str(error)) from error


def _told(table: pa.Table) -> bytes:
    parts = []
    for row in table.to_pylist():
        said = {name: row[name] for name in ("state", "since", "stage", "queued", "lag_s")}
        said.update({name: orjson.loads(row[name]) for name in WORDS if row[name]})
        parts.append({"name": row["part"], **{k: v for k, v in said.items() if v is not None}})
    return orjson.dumps({"v": 1, "parts": parts})


def relayed(process: str, message: bytes, now_ms: int) -> pa.Table:
    """Rows of what an ingest said of its parts, heard at `now_ms`; ValueError says what is wrong with it.

    It comes from whoever has ingest's login, and may be anything.
    """
    if not _PROCESS.fullmatch(process):
        msg = f"expected the name of an ingest, got {process[:80]!r}"
        raise ValueError(msg)
    if len(message) > _MOST_BYTES:
        msg = f"expected at most {_MOST_BYTES} bytes, got {len(message)}"
        raise ValueError(msg)
    try:
        said = _Message.model_validate(orjson.loads(message)).parts
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        # A name that nobody knows is a stranger's, too, and may have lines of its own.
        raise ValueError(f"{where[:_SHOWN]!r}: {first['msg']}") from error
    return parts_table(
        process,
        [
            {
                "name": part.name,
                "state": part.state,
                "since": part.since,
                **{word: _words(value) for word in WORDS if (value := getattr(part, word)) is not None},
            }
            for part in said
        ],
        {
            part.name: {"stage": part.stage, "queued": part.queued, "lag_s": part.lag_s}
            for part in said
            if part.stage is not None
        },
        now_ms,
    )


def _words(told: Any) -> str:
    _filled(told, _DEEPEST)
    return heard(told)


def _filled(told: Any, deepest: int) -> int:
    """Length of its text; ValueError if it is not of `models.wording.tellable` with names alone to fill in.

    No text is made to be measured: six wordings that each say the next a hundred times are a terabyte.
    """
    match told:
        case str():
            return _bounded(len(told))
        case {"say": str(say), "with": dict(values)} if len(told) == 2 and deepest:
            lengths = {name: _filled(value, deepest - 1) for name, value in values.items()}
            if not say:  # a list, with a comma and a space between
                return _bounded(sum(lengths.values()) + 2 * len(lengths))
            length = 0
            for text, name, form, conversion in Formatter().parse(say):
                length += len(text)
                if name is None:
                    continue
                if form or conversion or not name.isidentifier():
                    raise ValueError(f"expected a name in braces, got {name[:40]!r}")
                if name not in lengths:
                    raise ValueError(
                        f"expected words for what is to be filled in, got none for {name[:40]!r}"
                    )
                length += lengths[name]
            return _bounded(length)
    raise ValueError(f"expected words, or a wording and what is filled in, got {type(told).__name__}")


def _bounded(length: int) -> int:
    if length > _LENGTH:
        raise ValueError(f"expected at most {_LENGTH} characters of text")
    return length


class PartsRelay:
    """Keeps in the store what ingests say in topic `parts`, from the time on at which it begins.

    What was said before is no news, and at what time it was said only its writer knows. Several workers may
    do so: they write the same rows.

    Parameters
    ----------
    log : Follows
        That of the topic.
    store : KeepsRows
    wall_ms : callable
        Time now. [ms UTC]
    """

    def __init__(self, log: Follows, store: KeepsRows, wall_ms: Callable[[], int]) -> None:
        self._log, self._store, self._wall_ms = log, store, wall_ms
        self._after: int | None = None
        self._missed = False
        self._refused_ms: dict[str, int] = {}
        self._heard_ms: dict[str, int] = {}
        self._unkept: dict[str, pa.Table] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parts of ingest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                rest_s = self.once()
            except Exception:  # noqa: BLE001  whatever a library or a stranger's message may do: the next one is kept
                _log.exception("how ingest fares could not be kept")
                rest_s = _AGAIN_S
            self._stop.wait(rest_s)

    def once(self) -> float:
        """Wait a while for what comes next and keep it; how long to rest then. [s]"""
        try:
            if self._after is None:
                self._after = self._log.bounds()[1] - 1
            records = self._log.follow(self._after, wait_s=_WAIT_S)
        except MissingTopicError as error:
            if not self._missed:
                _log.warning("boards will not say how ingest fares: %s", error)
            self._missed = True
            return _MISSING_S
        except JournalError as error:
            _log.debug("how ingest fares is not heard: %s", error)
            self._after = None
            return _AGAIN_S
        if records:
            self._after = records[-1].offset
        self._keep({record.stream: record.frame for record in records})
        return 0.0

    def _keep(self, newest: Mapping[str, bytes]) -> None:
        """Write it, and what a store that was away did not take: the last word may be that all stopped."""
        now_ms = self._wall_ms()
        tables = {process: self._accepted(process, said, now_ms) for process, said in newest.items()}
        wanted = self._unkept | {process: table for process, table in tables.items() if table is not None}
        self._unkept = {}
        if not wanted:
            return
        try:
            self._store.write([outputs_of(table) for table in wanted.values()])
        except SinkUnavailableError as error:
            _log.debug("how ingest fares is not in the store yet: %s", error)
            self._unkept = dict(list(wanted.items())[-_MOST_PROCESSES:])
        except SinkError as error:
            _log.debug("how ingest fares is not in the store: %s", error)

    def _accepted(self, process: str, message: bytes, now_ms: int) -> pa.Table | None:
        heard_ms = {name: at for name, at in self._heard_ms.items() if at > now_ms - _FORGOTTEN_MS}
        try:
            table = relayed(process, message, now_ms)
            if process not in heard_ms and len(heard_ms) >= _MOST_PROCESSES:
                msg = f"expected at most {_MOST_PROCESSES} ingests"
                raise ValueError(msg)
        except ValueError as error:
            self._say(process, str(error), now_ms)
            return None
        self._heard_ms = {**heard_ms, process: now_ms}
        return table

    def _say(self, process: str, why: str, now_ms: int) -> None:
        """Once in a quarter of an hour, with a few others: a stranger's messages do not fill the log."""
        said = {text: at for text, at in self._refused_ms.items() if at > now_ms - _FORGOTTEN_MS}
        if why not in said and len(said) < _MOST_SAID:
            said[why] = now_ms
            _log.warning("topic parts: what %r says is not kept: %s", process[:80], why)
        self._refused_ms = said
