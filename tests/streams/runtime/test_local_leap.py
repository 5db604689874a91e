"""A leap of now in the embedded runtime: stored in slices, said, shared with other streams, begun anew if cut short."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Frame
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.silence import GAP_MS, silence
from tests.support.telemetry import T0
from tests.support.waiting import PATIENCE_S

QUARTERS = GAP_MS // 900_000


class Store(DuckdbSeries):
    """Counts what each write has."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.writes: list[int] = []

    def write(self, outputs: Sequence[Outputs]) -> None:
        super().write(outputs)
        self.writes.append(sum(t.num_rows for o in outputs for tables in o.rows.values() for t in tables))


class Parts:
    """A runtime with what it stands on, as a process opens them."""

    def __init__(self, home: Path, slice_s: float = 0.0):
        home.mkdir(exist_ok=True)
        self.journal = SqliteJournal(home / "j.sqlite3", lambda: T0)
        self.store = Store(home / "s.duckdb")
        self.checkpoints = SqliteCheckpoints(home / "c.sqlite3")
        self.runtime = LocalRuntime(self.journal, self.store, self.checkpoints, slice_s=slice_s)
        self.stop = threading.Event()

    def journalled(self) -> Parts:
        *before, (at, leap) = silence()
        self.journal.append([Append("u1", frame.encode(), t) for t, frame in before])
        self.step()
        self.runtime.save()
        self.journal.append([Append("u1", leap.encode(), at)])
        return self

    def step(self) -> int:
        """Until nothing is left; how many passes it took."""
        passes = 0
        while self.runtime.pass_once(self.stop):
            passes += 1
        return passes

    def rows(self) -> dict[str, list[str]]:
        return {m: sorted(map(repr, self.store.select(Select(m)).to_pylist())) for m in self.store.counts()}

    def close(self) -> None:
        for part in (self.journal, self.store, self.checkpoints):
            part.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, list[str]]:
    """What is stored where the leap is one slice."""
    parts = Parts(tmp_path_factory.mktemp("whole"), slice_s=math.inf).journalled()
    assert parts.step() == 1
    rows = parts.rows()
    parts.close()
    assert len(rows["device_heat"]) > 3 * QUARTERS
    return rows


def test_a_leap_is_stored_and_said_slice_by_slice(tmp_path, undisturbed) -> None:
    parts = Parts(tmp_path).journalled()
    runtime, last = parts.runtime, silence()[-1]
    before, now_ms = runtime.offsets(), runtime.status.now_ms
    assert runtime.pass_once(parts.stop) == 1
    leap = runtime.status.leaps["u1"]
    assert (leap.from_ms, leap.to_ms) == (now_ms["u1"], last[0])
    assert (runtime.offsets(), runtime.stepped(), runtime.status.now_ms) == (before, before, now_ms)
    assert runtime.status.lag == {"u1": 1}
    done, passes = [leap.done_ms], 1
    while runtime.pass_once(parts.stop):
        passes += 1
        done += [runtime.status.leaps["u1"].done_ms] if runtime.status.leaps else []
    assert passes > QUARTERS
    assert done == sorted(done)
    assert runtime.status.leaps == {}
    assert runtime.status.now_ms == {"u1": last[0]}
    assert runtime.offsets()["u1"] == before["u1"] + 1
    assert runtime.status.records == len(silence())
    assert max(parts.store.writes[1:]) < sum(parts.store.writes[1:]) / 4, "expected a write to be a slice"
    assert parts.rows() == undisturbed
    parts.close()


def test_another_stream_goes_on_beside_a_leap_and_is_checkpointed(tmp_path, undisturbed) -> None:
    parts = Parts(tmp_path).journalled()
    parts.runtime.pass_once(parts.stop)
    parts.journal.append([Append("u2", Frame.heartbeat().encode(), T0)])
    parts.runtime.pass_once(parts.stop)
    kept = parts.checkpoints.offsets()["u1"]
    parts.runtime._saved.clear()  # as if it had stepped more since, before the leap
    parts.runtime.save()
    parts.runtime.report(parts.stop)
    assert "u1" in parts.runtime.status.leaps
    assert parts.runtime.offsets()["u2"] == 0
    assert parts.checkpoints.offsets() == {"u1": kept, "u2": 0}
    parts.step()
    assert parts.rows() == undisturbed
    parts.close()


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("point", [pytest.param("stepped", marks=pytest.mark.soak), "stored"])
def test_a_kill_amid_a_leap_loses_nothing_and_doubles_nothing(tmp_path, undisturbed, point: str) -> None:
    passed: list[str] = []

    def kill(name: str) -> None:
        passed.append(name)
        if passed.count(point) == QUARTERS // 2:
            raise KilledError

    parts = Parts(tmp_path).journalled()
    parts.runtime._kill_point = kill
    with pytest.raises(KilledError):
        parts.step()
    parts.close()
    again = Parts(tmp_path)
    again.runtime.load()
    assert again.step() > QUARTERS
    assert again.rows() == undisturbed
    again.close()


def test_a_stop_amid_a_leap_is_at_once_and_the_next_start_begins_it_anew(
    tmp_path, undisturbed, caplog
) -> None:
    parts = Parts(tmp_path).journalled()
    passed: list[str] = []

    def stop(name: str) -> None:
        passed.append(name)
        if passed.count("stepped") == QUARTERS // 2:
            parts.stop.set()

    parts.runtime._kill_point = stop
    thread = threading.Thread(target=parts.runtime.run, args=(parts.stop,))
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert parts.runtime.status.leaps, "expected it to be stopped before its end"
    assert "u1 is stopped amid a leap" in caplog.text
    parts.close()
    again = Parts(tmp_path)
    again.runtime.load()
    assert again.step()
    assert again.rows() == undisturbed
    again.close()
