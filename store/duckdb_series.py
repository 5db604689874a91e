"""Series in one DuckDB file: results upserted, readings appended, both exactly once.

One process owns the file; whoever else wants to read asks that process.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from models.results import READING, READING_REPEAT, Outputs
from models.wording import worded
from store import sql
from store.catalogue import LAYOUT, META, PROGRESS, READING_PREFIX, load, quoted
from store.checkpoints_told import TELL_CHECKPOINTS, is_told_of_checkpoints, prepare_progress
from store.duckdb_damage import first_line, is_damage
from store.duckdb_write import Job, Writing, halves, jobs, reached
from store.protocol import Select, StoreError, StoreUnavailableError
from store.rows import REFUSED, Refusal

# ruff: noqa: S608  values are parameters; identifiers are constants or quoted

__all__ = ["SERIES_FILE", "DuckdbSeries"]

SERIES_FILE: Final = "series.duckdb"
"""Name of the file in a data directory."""
_DATA_ERRORS: Final = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, pa.ArrowInvalid)
"""Errors of the rows themselves: the same rows fail again, their neighbours do not."""
_DEAD_LETTER: Final = "dead_letter"
_LOOK_EVERY_ROWS: Final = 100_000
"""After so many written rows is looked at what DuckDB keeps in memory."""
_AT_REST_BYTES: Final = 2**20
_LOOK_EVERY_READS: Final = 16
"""After so many answers, too: reading fills its memory as writing does."""
_EXPIRING: Final = (READING_REPEAT, _DEAD_LETTER, REFUSED)


class DuckdbSeries:
    """Series of results and readings in the DuckDB file `path`.

    Result rows: a table a measurement, upserted by (key, window_start).
    Readings: a table a device class, appended; how far each stream has got is
    kept in the same transaction, so writing an overlap again adds nothing.
    A row that cannot be kept goes to the measurement `store_refused` with the
    reason, its neighbours are kept.

    Parameters
    ----------
    path : path-like
        Made when it does not exist, its directory too.
    memory_limit : str
        What DuckDB may use before it spills to disk.
    cached_mb : int
        How much of its tables' blocks DuckDB may keep after writes and answers. Left alone it keeps all
        that it wrote or read, up to its limit; the system's own cache of the file holds them too. [MB]
    threads : int
    read_only : bool
        Look at an existing file; several processes may, while nobody writes it.

    Attributes
    ----------
    damage : str
        How DuckDB says that the file is damaged, once it was met; empty before.

    Raises
    ------
    StoreError
        The file is no DuckDB file, of a newer version, or owned by another process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory_limit: str = "512MB",
        cached_mb: int = 32,
        threads: int = 2,
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        self._read_only = read_only
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": str(threads),
        }
        self._memory_limit, self._cached_bytes = memory_limit, cached_mb * 2**20
        self._rows_since_look = 0
        self._lock = threading.Lock()
        self._readers, self._reads_since_look = 0, 0
        self._reading = threading.Lock()
        self.damage = ""
        self._open()

    def _open(self) -> None:
        """Open the file; `_root` only ever makes cursors, so a busy writer holds up no reader."""
        try:
            if not self._read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._root = duckdb.connect(str(self.path), read_only=self._read_only, config=self._config)
        except (duckdb.Error, OSError) as error:
            msg = (
                worded(
                    "{where}: expected a DuckDB file, got one that is damaged: move it away and start "
                    "again, it is made anew from the journal: {why}",
                    **self._at(error),
                )
                if is_damage(error)
                else worded(
                    "{where}: expected a DuckDB file that this process may own: {why}", **self._at(error)
                )
            )
            raise StoreError(msg) from error
        try:
            self._writer = self._root.cursor()
            if not self._read_only:
                self._prepare()
            self._load()
        except duckdb.Error as error:
            self._root.close()
            msg = worded("{where}: expected a Hearthline series file: {why}", **self._at(error))
            raise StoreError(msg) from error
        except StoreError:
            self._root.close()
            raise
        self._closed = self._lost = False

    def _prepare(self) -> None:
        """Make what a new file needs, all of it or nothing."""
        self._writer.execute("BEGIN TRANSACTION")
        self._writer.execute(f"CREATE TABLE IF NOT EXISTS {META} (layout INTEGER NOT NULL)")
        self._writer.execute(f"INSERT INTO {META} SELECT ? WHERE NOT EXISTS (FROM {META})", [LAYOUT])
        prepare_progress(self._writer)
        self._writer.execute("COMMIT")

    def _load(self) -> None:
        found = self._writer.execute(f"SELECT max(layout) FROM {META}").fetchone()
        layout = found[0] if found else None
        if layout != LAYOUT:
            remedy = (
                ": it was written by a newer hearthline; install that version again, or start on a copy of "
                "the data directory that was made before it"
            )
            newer = remedy if layout is not None and layout > LAYOUT else ""
            msg = f"{self.path}: expected layout {LAYOUT}, got {layout}{newer}"
            raise StoreError(msg)
        self._catalogue = load(self._writer)
        kept = self._writer.execute(f'SELECT stream, "offset" FROM {PROGRESS}').fetchall()
        self._progress: dict[str, int] = dict(kept)

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Keep all of it in one transaction, on disk when this returns."""
        with self._lock:
            self._may_write()
            todo = jobs(outputs, self._progress)
            progress = reached(outputs, self._progress)
            refused: list[Refusal] = []
            try:
                self._commit(todo, refused, progress)
            except _DATA_ERRORS:
                # No known kind of bad row: find out which, and keep the others.
                todo = [good for job in todo for good in self._sift(job, refused)]
                try:
                    self._commit(todo, refused, progress)
                except _DATA_ERRORS as error:
                    msg = worded("{where}: the store cannot take this write: {why}", **self._at(error))
                    raise StoreError(msg) from error
            self._rows_since_look += sum(job.rows.num_rows for job in todo)
            if self._rows_since_look >= _LOOK_EVERY_ROWS:
                self._rows_since_look = 0
                self._forget_blocks(self._cached_bytes)

    def _forget_blocks(self, keep_bytes: int) -> None:
        """Let DuckDB forget blocks of its tables beyond `keep_bytes`: it does when its limit is lowered.

        It also gives the system back what it holds free.

        What others need meanwhile has room in what stays cached; where DuckDB refuses, nothing is changed.
        """
        with contextlib.suppress(duckdb.Error):
            found = self._writer.execute("SELECT tag, memory_usage_bytes FROM duckdb_memory()").fetchall()
            used = {str(tag): int(size) for tag, size in found}
            if used.get("BASE_TABLE", 0) <= keep_bytes:
                return
            low = sum(used.values()) - used["BASE_TABLE"] + keep_bytes
            try:
                self._writer.execute(f"SET memory_limit = '{low}B'")
            finally:
                self._writer.execute(f"SET memory_limit = '{self._memory_limit}'")

    def _commit(self, todo: Sequence[Job], refused: Sequence[Refusal], progress: dict[str, int]) -> None:
        with self._transaction():
            writing = Writing(self._writer, self._catalogue)
            for job in todo:
                writing.run(job)
            for refusal in refused:
                writing.refuse(refusal)
            writing.advance({s: o for s, o in progress.items() if o != self._progress.get(s)})
        self._catalogue, self._progress = writing.catalogue, progress

    def _sift(self, job: Job, refused: list[Refusal]) -> list[Job]:
        """The parts of `job` that DuckDB takes, tried and taken back; rows that it does not are refused."""
        try:
            with contextlib.suppress(_TakenBackError), self._transaction():
                Writing(self._writer, self._catalogue).run(job)
                raise _TakenBackError
        except _DATA_ERRORS as error:
            if job.rows.num_rows == 1:
                refused.append(Refusal(job.measurement, job.rows, first_line(error)))
                return []
            return [part for half in halves(job) for part in self._sift(half, refused)]
        return [job]

    def select(self, query: Select) -> pa.Table:
        """Rows that answer `query`, from the last commit; a running write does not hold it up."""
        self._alive()
        built = sql.build(query, self._catalogue)
        if built is None:
            return sql.empty_schema(query).empty_table()
        with self._counted(), self._reader() as cursor:
            return cursor.sql(built.text, params=built.parameters).to_arrow_table()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count answers, and let blocks go after many, at a moment when nobody else reads or writes."""
        with self._reading:
            self._readers += 1
        try:
            yield
        finally:
            with self._reading:
                self._readers -= 1
                self._reads_since_look += 1
                idle = not self._readers and self._reads_since_look >= _LOOK_EVERY_READS
                if idle and self._lock.acquire(blocking=False):
                    try:
                        self._reads_since_look = 0
                        if not self._closed:
                            self._forget_blocks(self._cached_bytes)
                    finally:
                        self._lock.release()

    def rest(self) -> None:
        """Let blocks go, but for what DuckDB may need to do so: nobody is expected to ask for a while."""
        with self._lock, self._reading:
            if not self._readers and not self._closed:
                self._forget_blocks(_AT_REST_BYTES)

    def counts(self) -> dict[str, int]:
        """How many rows each measurement has, withdrawn ones included."""
        self._alive()
        totals: dict[str, int] = {}
        with self._reader() as cursor:
            for table in self._catalogue:
                reading = table.startswith(READING_PREFIX) and table != READING_REPEAT
                name = READING if reading else table
                totals[name] = totals.get(name, 0) + _count(cursor, table)
        return totals

    def progress(self) -> dict[str, int]:
        """The last journal offset of each stream whose readings are kept."""
        return dict(self._progress)

    def behind(self, checkpoints: Mapping[str, int]) -> dict[str, int]:
        """How far streams had got of whose `checkpoints` (their offsets) this file was never told.

        It is then an older copy, or another file: a runtime tells its store before it keeps a checkpoint.
        A file of a release that did not yet is taken to be the one of its checkpoints, once.
        """
        with self._lock:
            self._may_write()
            if not is_told_of_checkpoints(self._writer):
                progress = {s: max(o, self._progress.get(s, -1)) for s, o in checkpoints.items()}
                with self._transaction():
                    Writing(self._writer, self._catalogue).advance(progress)
                    self._writer.execute(TELL_CHECKPOINTS)
                self._progress |= progress
        known = {stream: self._progress.get(stream, -1) for stream in checkpoints}
        return {stream: offset for stream, offset in known.items() if offset < checkpoints[stream]}

    def expire(self, before_ms: int) -> int:
        """Delete readings, repeats and refusals of before `before_ms` [ms]; how many went. Results stay."""
        gone = 0
        with self._lock:
            self._may_write()
            with self._transaction():
                for table in self._catalogue:
                    if table.startswith(READING_PREFIX) or table in _EXPIRING:
                        text = f"DELETE FROM {quoted(table)} WHERE window_start < ?"
                        row = self._writer.execute(text, [before_ms]).fetchone()
                        gone += int(row[0]) if row else 0
        return gone

    def close(self) -> None:
        """Release the file; closing twice is allowed."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._writer.close()
                self._root.close()

    def _at(self, error: BaseException) -> dict[str, str]:
        """Where it went wrong, and how DuckDB puts it."""
        return {"where": str(self.path), "why": first_line(error)}

    def _note(self, error: BaseException) -> None:
        """Keep that the file itself is damaged, if that is what `error` says."""
        if is_damage(error):
            self.damage = first_line(error)

    def _alive(self) -> None:
        if self._closed:
            msg = worded("{where}: the store is closed", where=str(self.path))
            raise StoreError(msg)

    def _may_write(self) -> None:
        self._alive()
        if self._read_only:
            msg = worded("{where}: the store is open for reading only", where=str(self.path))
            raise StoreError(msg)
        self._reopen()  # before anybody asks how far it has got: the commit that failed may have been kept

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Any]:
        cursor = self._root.cursor()
        try:
            yield cursor
        except (duckdb.OperationalError, duckdb.FatalException, duckdb.ConnectionException) as error:
            self._note(error)
            msg = worded("{where}: cannot be read now: {why}", **self._at(error))
            raise StoreUnavailableError(msg) from error
        except duckdb.Error as error:
            self._note(error)
            msg = worded("{where}: {why}", **self._at(error))
            raise StoreError(msg) from error
        finally:
            cursor.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; a disk that is full or failing leaves the store as it was, to be tried again."""
        try:
            self._writer.execute("BEGIN TRANSACTION")
            yield
            self._writer.execute("COMMIT")
        except _DATA_ERRORS:
            self._rollback()
            raise
        except duckdb.FatalException as error:  # DuckDB gives up the whole instance: open the file again
            self._rollback()
            self._note(error)
            self._lost = True
            self._reopen()
            msg = worded("{where}: cannot be written now: {why}", **self._at(error))
            raise StoreUnavailableError(msg) from error
        except duckdb.Error as error:
            self._rollback()
            self._note(error)
            busy = isinstance(error, (duckdb.OperationalError, duckdb.OutOfMemoryException))
            if busy:
                msg = worded("{where}: cannot be written now: {why}", **self._at(error))
                raise StoreUnavailableError(msg) from error
            msg = worded("{where}: cannot be written: {why}", **self._at(error))
            raise StoreError(msg) from error
        except BaseException:
            self._rollback()
            raise

    def _reopen(self) -> None:
        """Open the file again where DuckDB gave it up; the next write tries again if that fails."""
        if not self._lost:
            return
        try:
            self._root.close()
            self._open()
        except StoreError as error:
            msg = worded("{where}: cannot be opened again now: {why}", **self._at(error))
            raise StoreUnavailableError(msg) from error

    def _rollback(self) -> None:
        with contextlib.suppress(duckdb.Error):
            self._writer.execute("ROLLBACK")


class _TakenBackError(Exception):
    """Ends a trial transaction."""


def _count(cursor: Any, table: str) -> int:
    row = cursor.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(row[0]) if row else 0
