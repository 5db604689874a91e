"""A leap of now in slices equals a leap at once: of every registered operator, and wherever it is cut short."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.anomaly import ANOMALY
from models.frame import Frame, FrameKind, Record, telemetry_schema
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.core.operator import WindowOperator, discovered
from streams.core.pipeline import Pipeline, PipelineError
from tests.laws.test_network_heat import TEXTS
from tests.support.road import ROAD_TEXTS, STREAM, Event, road_frame, trips
from tests.support.telemetry import T0, Log, Message, history, registry_frame, telemetry_frames, with_water

HOUR_MS = 3_600_000
STEP_MS = 900_000
EVERY_MS = 400_000
MIDNIGHT_AMID = TEXTS | {
    "site.toml": TEXTS["site.toml"].replace("Asia/Shanghai", "America/Los_Angeles")
}  # eight hours after the beginning: what is told once a day is told amid a leap
WINDOWS = {o.name for o in discovered() if isinstance(o, WindowOperator)}


def leaps(
    framed: Iterable[tuple[int, Frame]], stream: str, texts: dict[str, str], gap_ms: int
) -> list[Record]:
    """A silence after three quarters of `framed`, one after the last, and a heartbeat at its end."""
    log = Log(stream)
    log.append(registry_frame(texts), T0)
    for at, frame in framed:
        log.append(frame, at)
    log.append(Frame.heartbeat(), log.records[-1].timestamp_ms + gap_ms)
    return log.records


def heat(gap_ms: int) -> list[Record]:
    """A network: counters go on while nothing is heard, and all speak in the first record after it."""
    messages = sorted(with_water(history(5, 2.0, longest_gap_ms=0), 5), key=lambda m: (m.newest_t, m.device))
    moved = [after_silence(m, gap_ms) if m.newest_t > T0 + 1.5 * HOUR_MS else m for m in messages]
    slots = [list(of) for _, of in groupby(moved, key=lambda m: m.newest_t // 600_000)]
    framed = [(max(m.newest_t for m in of) + 500, frame) for of in slots for frame in telemetry_frames(of)]
    return leaps(framed, "u1", MIDNIGHT_AMID, gap_ms)


def after_silence(m: Message, gap_ms: int) -> Message:
    more = {"energy_gj": 40.0, "volume_m3": 300.0, "makeup_m3": 2.0}
    samples = tuple(
        (t + gap_ms, {n: v + more.get(n, 0.0) for n, v in values.items()}) for t, values in m.samples
    )
    return Message(m.device, m.boot, m.seq, samples)


def road(gap_ms: int) -> list[Record]:
    """Weighings of a day and positions of two trucks."""
    events = sorted(trips(3, 1.0), key=lambda e: (e.t, e.device, e.seq))
    events = [
        e if e.t < T0 + 18 * HOUR_MS else Event(e.device, e.seq, e.t + gap_ms, e.values) for e in events
    ]
    classes = {"bridge-m": "weighbridge", "bridge-p": "weighbridge", "desk": "office"}
    framed = [(e.t + 1000, road_frame(classes[e.device], [e])) for e in events]
    framed += [positions(T0 + n * 20 * 60_000 + (gap_ms if n >= 54 else 0), n + 1) for n in range(72)]
    return leaps(sorted(framed, key=lambda f: f[0]), STREAM, ROAD_TEXTS, gap_ms)


def positions(t_ms: int, seq: int) -> tuple[int, Frame]:
    """Where two trucks are in twenty minutes, on the way from the mine to the yard and back."""
    rows = []
    for n, minute in ((n, minute) for n in (1, 2) for minute in range(20)):
        at = t_ms + minute * 60_000
        share = 0.5 - 0.5 * np.cos(at / HOUR_MS * np.pi / 6)
        rows.append({"device": f"truck-{n}", "boot": T0 - 5, "seq": seq, "pos": minute, "t": at,
                     "lat_deg": 39.0 + 0.5 * share, "lon_deg": 110.0 + share})  # fmt: skip
    batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema("truck"))
    return t_ms + 20 * 60_000, Frame(FrameKind.TELEMETRY, "truck", batch)


OF_HEAT = [pytest.param((heat, 4), id="heat"), pytest.param((road, 4), id="road", marks=pytest.mark.soak)]
"""Where the gate is content with the stream that has windows, networks, learners and entities."""


@pytest.fixture(scope="module", params=[
    pytest.param((heat, 4), id="heat"), pytest.param((road, 4), id="road"),
    pytest.param((heat, 8), id="heat, eight hours", marks=pytest.mark.soak),
    pytest.param((road, 8), id="road, eight hours", marks=pytest.mark.soak),
])  # fmt: skip
def records(request: pytest.FixtureRequest) -> list[Record]:
    history_with, hours = request.param
    made: list[Record] = history_with(hours * HOUR_MS)
    assert sum(b.timestamp_ms - a.timestamp_ms > hours * HOUR_MS // 2 for a, b in pairwise(made)) == 2
    return made


def at_once(pipeline: Pipeline, record: Record) -> Outputs:
    """Step without slices: all is told in one, and entities see it when all is told."""
    outputs = Outputs(pipeline.stream, record.offset)
    now_ms, quiet = pipeline._begin(record, outputs)
    for _, told in pipeline._telling.close(now_ms):
        outputs.merge(told)
    pipeline._end(now_ms, outputs, quiet=quiet)
    return outputs


def listed(outputs: Outputs) -> dict[str, Any]:
    """Everything, of each kind in the order in which it was told; as text, in which NaN equals itself."""
    tables = {**outputs.rows, "reading": outputs.readings, "reading_repeat": outputs.repeats}
    rows = {name: [repr(r) for t in of for r in t.to_pylist()] for name, of in tables.items()}
    return {"offset": outputs.offset, "forwards": outputs.forwards, **rows}


@pytest.mark.parametrize(
    "every_ms",
    [pytest.param(EVERY_MS, id="provisional"), pytest.param(None, id="settled", marks=pytest.mark.soak)],
)
def test_a_leap_in_slices_equals_a_leap_at_once(records: list[Record], every_ms: int | None) -> None:
    sliced, whole = (Pipeline(records[0].stream, provisional_every_ms=every_ms) for _ in range(2))
    told: set[str] = set()
    most = 0
    for record in records:
        *parts, last = sliced.steps(record)
        for part in reversed(parts):  # what is told last is in the last part: put the others before it
            part.merge(last)
            last = part
        most = max(most, len(parts))
        got, expected = listed(last), listed(at_once(whole, record))
        assert got.keys() == expected.keys()
        assert not [name for name in got if got[name] != expected[name]], record.offset
        told |= got.keys()
    gap_ms = records[-1].timestamp_ms - records[-2].timestamp_ms
    assert most >= gap_ms // STEP_MS, "expected a part for every quarter of an hour"
    wanted = {"anomaly", "device_heat", "network_heat", "signature", "fuel_heat"}
    assert told >= (wanted if records[0].stream == "u1" else {"track", "trip", "weighing", "fulfilment"})
    assert dict(sliced.checkpoint().parts) == dict(whole.checkpoint().parts)


def test_a_slice_is_small_and_tells_only_what_may_be_told_again(records: list[Record]) -> None:
    pipeline = Pipeline(records[0].stream, provisional_every_ms=EVERY_MS)
    for record in records:
        before, parts = pipeline.offset, list[Outputs]()
        for part in pipeline.steps(record):
            parts.append(part)
            if pipeline.leap is not None:
                nothing_else_goes(pipeline, record, before)
        *slices, last = parts
        assert (last.offset, pipeline.offset, pipeline.now_ms) == (
            record.offset, record.offset, max(r.timestamp_ms for r in records[: record.offset + 1])
        )  # fmt: skip
        for n, part in enumerate(slices):
            assert part.offset == before
            assert (part.readings, part.repeats, part.forwards, part.rows.get(ANOMALY)) == ([], [], [], None)
            ends = {end for name in WINDOWS for t in part.rows.get(name, ()) for end in ends_of(t)}
            assert n == 0 or len(ends) <= 1, (
                "what the record itself told comes with the first, then end by end"
            )


def nothing_else_goes(pipeline: Pipeline, record: Record, before: int) -> None:
    """Amid a leap its record is not stepped yet, and neither a checkpoint nor another record is taken."""
    leap = pipeline.leap
    assert leap is not None
    assert (pipeline.offset, pipeline.now_ms) == (before, leap.from_ms)
    assert leap.from_ms <= leap.done_ms <= leap.to_ms == max(record.timestamp_ms, leap.from_ms)
    following = Record(record.stream, record.offset + 1, record.timestamp_ms, record.frame)
    for act in (pipeline.checkpoint, lambda: pipeline.step(following)):
        with pytest.raises(PipelineError, match="expected all of the record after"):
            act()


def ends_of(table: pa.Table) -> set[int]:
    return {
        r["window_start"] + r["window_ms"] for r in table.select(["window_start", "window_ms"]).to_pylist()
    }


@pytest.mark.parametrize("records", OF_HEAT, indirect=True)
def test_a_crash_between_two_slices_loses_nothing_and_doubles_nothing(
    records: list[Record], tmp_path
) -> None:
    stores = DuckdbSeries(tmp_path / "a.duckdb"), DuckdbSeries(tmp_path / "b.duckdb")
    written(stores[0], records, crashes=0)
    written(stores[1], records, crashes=3)
    clean, crashed = ({m: rows_of(s, m) for m in s.counts()} for s in stores)
    assert clean.keys() == crashed.keys()
    assert not [name for name in clean if clean[name] != crashed[name]]
    for store in stores:
        store.close()


def written(store: DuckdbSeries, records: Sequence[Record], crashes: int) -> None:
    """Step and store as a runtime does: what comes after the last checkpoint is stepped again after a crash.

    Where none is to come all is stored at the end.
    """
    rng = random.Random(11)
    pipeline = Pipeline(records[0].stream, provisional_every_ms=EVERY_MS)
    kept, left = pipeline.checkpoint(), crashes
    held = Outputs(pipeline.stream)
    while pipeline.offset + 1 < len(records):
        for part in pipeline.steps(records[pipeline.offset + 1]):
            held.merge(part)
            amid = pipeline.leap is not None and pipeline.leap.long
            if crashes and rng.random() < 0.1:
                store.write([held])
                held = Outputs(pipeline.stream)
            if amid and left and rng.random() < 0.1:
                left -= 1
                pipeline = Pipeline.restore(kept, provisional_every_ms=EVERY_MS)
                held = Outputs(pipeline.stream)
                break
        if crashes and pipeline.leap is None and rng.random() < 0.2:
            store.write([held])
            kept, held = pipeline.checkpoint(), Outputs(pipeline.stream)
    store.write([held])
    assert left == 0, "expected every crash to have happened"


def rows_of(store: DuckdbSeries, measurement: str) -> list[str]:
    """Every row as text; which of its columns a store had first is no matter."""
    rows = store.select(Select(measurement, withdrawn=True)).to_pylist()
    return sorted(json.dumps([r["key"], r["window_start"]]) + repr(sorted(r.items())) for r in rows)


@pytest.mark.parametrize("records", OF_HEAT, indirect=True)
def test_a_leap_settles_what_many_small_ones_settle(records: list[Record]) -> None:
    *before, last = records
    leapt, walked = (Pipeline(last.stream, provisional_every_ms=EVERY_MS) for _ in range(2))
    nows = [*range(before[-1].timestamp_ms + STEP_MS, last.timestamp_ms, STEP_MS), last.timestamp_ms]
    beats = (Record(last.stream, last.offset + n, now, last.frame) for n, now in enumerate(nows))
    one = settled(chain((leapt.step(r) for r in before), leapt.steps(last)))
    other = settled(walked.step(r) for r in chain(before, beats))
    assert one.keys() == other.keys()
    assert not [name for name in one if one[name] != other[name]]


def settled(parts: Iterator[Outputs]) -> dict[str, dict[tuple[str, int], str]]:
    """Last word on everything that is final or unknown; how often it was said does not count."""
    said: dict[str, dict[tuple[str, int], str]] = {}
    for part in parts:
        for measurement, tables in part.rows.items():
            for row in (r for t in tables for r in t.to_pylist() if r["status"] in {"final", "unknown"}):
                row.pop("revision")
                said.setdefault(measurement, {})[row["key"], row["window_start"]] = repr(row)
    return said
