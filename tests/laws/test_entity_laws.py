"""Laws of operators over entities: only the set of events matters, and what no longer follows is taken back."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from models.frame import ROW_OF_ANOTHER_STREAM, Frame, FrameKind, Record
from models.restate import RestateAnswer
from models.site_files import parse_site
from streams.core.checkpoint import CheckpointError
from streams.core.entity_events import events_of
from streams.core.entity_operator import (
    Entity,
    EntityOperator,
    EntityRow,
    MarkOperator,
    Marks,
    by_contract,
    by_device,
    by_plate,
    by_unit,
    entity_operator,
    mark_operator,
)
from streams.core.operator import SampleOperator, discovered
from streams.core.pipeline import Pipeline
from streams.operators.reading import reading
from tests.support.examples import RANDOM, SEEDS, law
from tests.support.restating import StoredStream, run_all
from tests.support.road import (
    CLASS_OF,
    HOUR_MS,
    MINUTE_MS,
    ROAD_TEXTS,
    STREAM,
    Event,
    road_frame,
    road_journal,
    run_road,
    trips,
    weighing,
)
from tests.support.telemetry import T0, Message, history, registry_frame, telemetry_frames

DAY_S = 86_400
LATENESS_MS = 900_000
UNTIL_MS = T0 + 4 * 24 * HOUR_MS


@entity_operator(
    by=by_plate,
    events=("weighbridge",),
    writes={"load": {"net_kg": pa.int64(), "contract": pa.string(), "plate": pa.string()}},
    horizon_s=10 * DAY_S,
    reach_s=DAY_S,
    forward=lambda row, site: (
        site.contracts[row["contract"]].unit if row.get("contract") in site.contracts else ""
    ),
)
def load(entity: Entity):
    """What each truck carried: gross less the tare before it at the mine."""
    tare = None
    for event in entity.of("weighbridge"):
        if event.device == "bridge-m" and event.values["step"] == "tare":
            tare = event.values["mass_kg"]
        elif event.device == "bridge-m":
            net = None if tare is None else int(event.values["mass_kg"] - tare)
            fields = {"net_kg": net, "contract": event.values["contract"], "plate": entity.name}
            yield EntityRow(
                "load", event.values["ticket"], event.t, 0, "u1", fields, event.t + 20 * MINUTE_MS,
                reason="" if tare is not None else "no_tare",
            )  # fmt: skip


@entity_operator(
    by=by_contract,
    reads=("load",),
    events=("office",),
    writes={"total": {"net_kg": pa.int64(), "loads": pa.int64(), "released_kg": pa.float64()}},
    horizon_s=40 * DAY_S,
    reach_s=5 * DAY_S,
    every_s=900,
    names=lambda site: site.contracts,
)
def total(entity: Entity):
    """What each contract carried, a row a day."""
    for day_ms in range(T0, min(entity.now_ms, T0 + 3 * 24 * HOUR_MS), 24 * HOUR_MS):
        end_ms = day_ms + 24 * HOUR_MS
        mine = [i for i in entity.of("load") if day_ms <= i.t < end_ms]
        released = [i for i in entity.of("office") if day_ms <= i.t < end_ms]
        fields = {
            "net_kg": sum(i.values.get("net_kg", 0) for i in mine), "loads": len(mine),
            "released_kg": sum(i.values["mass_kg"] for i in released),
        }  # fmt: skip
        yield EntityRow(
            "total", entity.name, day_ms, 24 * HOUR_MS, "u1", fields, end_ms + LATENESS_MS, end_ms
        )


OPERATORS = (load, total)


def registered() -> tuple[EntityOperator, ...]:
    return tuple(o for o in discovered() if isinstance(o, EntityOperator))


ALL = (
    *(o for o in discovered() if isinstance(o, EntityOperator | MarkOperator | SampleOperator)),
    *OPERATORS,
)
MEASUREMENTS = sorted({m for o in (*registered(), *OPERATORS) for m in o.writes if m not in o.hidden})


def in_order(events: list[Event]) -> list[Record]:
    ordered = sorted(events, key=lambda e: (e.t, e.device, e.seq))
    return road_journal([[e] for e in ordered], [e.t + 500 for e in ordered])


def run(records: list[Record], **more):
    return run_road(records, ALL, until_ms=UNTIL_MS, **more)


def equal(a, b) -> None:
    for measurement in MEASUREMENTS:
        of_a, of_b = (
            {k: r for k, r in x.of(measurement, "revision").items() if r["status"] != "provisional"}
            for x in (a, b)
        )
        assert of_a == of_b, measurement


@law(gate=1, soak=10, seed=SEEDS, size=st.sampled_from([20, 1, 5, 30]), rng=RANDOM)
def test_splitting_changes_nothing(seed: int, size: int, rng) -> None:
    events = sorted(trips(seed), key=lambda e: (e.t, e.device, e.seq))
    cuts = sorted(rng.sample(range(1, len(events)), min(size, len(events) - 1)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    whole = run(in_order(events))
    assert len(whole.of("load")) > 5
    equal(whole, run(road_journal(batches, [b[-1].t + 500 for b in batches])))


@law(gate=1, soak=10, seed=SEEDS, rng=RANDOM)
def test_order_lateness_and_duplication_change_nothing(seed: int, rng) -> None:
    events = trips(seed)
    late = [(e.t + rng.randint(0, 30 * HOUR_MS if rng.random() < 0.2 else LATENESS_MS), e) for e in events]
    late += [(at + rng.randint(0, HOUR_MS), e) for at, e in late if rng.random() < 0.3]
    late.sort(key=lambda x: (x[0], x[1].device, x[1].seq))
    shuffled = road_journal([[e] for _, e in late], [at for at, _ in late])
    equal(run(in_order(events)), run(shuffled))


@law(gate=1, soak=10, seed=SEEDS, rng=RANDOM)
def test_a_crash_at_any_point_changes_nothing(seed: int, rng) -> None:
    records = in_order(trips(seed))
    clean = run(records)
    crashed = run(records, crash_at=rng.sample(range(2, len(records)), 4))
    assert clean.rows == crashed.rows
    assert [f for f in crashed.forwards if f not in clean.forwards] == [], "what is emitted again is equal"


@law(gate=1, soak=10, seed=SEEDS)
def test_settled_rows_do_not_depend_on_provisional_ones(seed: int) -> None:
    records = in_order(trips(seed))
    equal(run(records), run(records, every_ms=None))


def batch_entity(operator: EntityOperator, items, site, now_ms):
    """Rows of a plain computation over everything at once."""
    of: dict[str, list] = {name: [] for name in operator.names(site)}
    for item in items:
        for name in operator.by(item, site):
            of.setdefault(name, []).append(item)
    rows = {}
    for name, mine in of.items():
        mine.sort(key=lambda i: i.order)
        for row in operator.function(Entity(name, mine, site, STREAM, now_ms, 0)):
            if now_ms >= row.settles_ms:
                fields = {n: row.fields.get(n) for n in operator.writes[row.measurement]}
                rows[row.measurement, row.key, row.start_ms] = {
                    **fields, "coverage": row.coverage, "status": "unknown" if row.reason else "final",
                    "reason": row.reason or None,
                }  # fmt: skip
    return rows


@law(gate=1, soak=10, seed=SEEDS)
def test_results_equal_a_batch_computation_over_the_whole_history(seed: int) -> None:
    events = trips(seed)
    told = run(in_order(events))
    site = parse_site(ROAD_TEXTS)[0]
    items = {}
    for device_class in ("weighbridge", "office"):
        mine = [e for e in events if CLASS_OF[e.device] == device_class]
        batch = road_frame(device_class, mine).batch
        items |= dict(sorted(events_of(batch, device_class, {}), key=lambda x: x[1].seq))
    expected = batch_entity(load, [i for i in items.values() if i.source == "weighbridge"], site, UNTIL_MS)
    got = {("load", *k): r for k, r in told.of("load").items() if r["status"] != "provisional"}
    assert len(got) > 5
    assert {k: {n: got[k][n] for n in r} for k, r in expected.items()} == expected
    assert got.keys() == expected.keys()
    totals = told.of("total")
    for contract in ("C1", "C2"):
        kg = sum(r["net_kg"] or 0 for k, r in expected.items() if r["contract"] == contract)
        assert sum(r["net_kg"] for k, r in totals.items() if k[0] == contract and k[1] < UNTIL_MS) == kg


def test_what_follows_no_more_is_withdrawn_and_comes_back_with_its_next_revision() -> None:
    events = [
        weighing(1, T0, "A", "tare", 15_000.0),
        weighing(2, T0 + HOUR_MS, "A", "gross", 45_000.0),
        # Corrected three hours later: it was another truck's, and then again this one's.
        weighing(3, T0 + HOUR_MS, "A", "gross", 45_000.0, plate="P2"),
        weighing(4, T0 + HOUR_MS, "A", "gross", 46_000.0),
    ]
    arrivals = [T0, T0 + HOUR_MS, T0 + 4 * HOUR_MS, T0 + 8 * HOUR_MS]
    others = [weighing(10 + n, T0, f"B{n}", "tare", 15_000.0, plate="P3") for n in range(3)]
    seen = []
    for n in range(2, 5):
        fed = sorted(
            [
                *zip(arrivals[:n], events[:n], strict=True),
                *((at + HOUR_MS, e) for at, e in zip(arrivals[1:], others, strict=True)),
            ],
            key=lambda x: x[0],
        )
        told = run(road_journal([[e] for _, e in fed], [at for at, _ in fed]))
        row = told.rows["load"]["A", T0 + HOUR_MS]
        seen.append((row["plate"], row["net_kg"], row["status"], row["revision"]))
    assert seen[0] == ("P1", 30_000, "final", 0)
    assert seen[1][0::2] == ("P2", "unknown")
    assert seen[2][:3] == ("P1", 31_000, "final")
    assert 0 < seen[1][3] < seen[2][3]
    listed = told.rows["restatement"]
    assert {r["subject"] for r in listed.values() if r["measurement"] == "load"} == {"A"}
    gone = run(road_journal([[e] for e in (*events[:2], weighing(3, T0 + HOUR_MS, "A", "gross", 1.0, plate=None))],
                            [T0, T0 + HOUR_MS, T0 + 5 * HOUR_MS]))  # fmt: skip
    assert gone.rows["load"]["A", T0 + HOUR_MS]["plate"] == "P1"
    assert gone.rows["load"]["A", T0 + HOUR_MS]["status"] == "withdrawn"
    assert gone.of("total")["C1", T0]["loads"] == 0


def test_what_is_sealed_stays_as_it_was_said() -> None:
    short = replace(load, horizon_s=2 * DAY_S)
    events = trips(6, days=8.0)
    last_ms = max(e.t for e in events)
    records = in_order(events)
    told = run_road(records, (short,), until_ms=last_ms + 3 * 24 * HOUR_MS, crash_at=[len(records) // 2])
    whole = run_road(records, (load,), until_ms=last_ms + 3 * 24 * HOUR_MS)
    assert told.of("load") == whole.of("load")
    assert {r["status"] for r in told.rows["load"].values()} <= {"final", "unknown"}
    again = run_road(records, (short, total), until_ms=last_ms + 3 * 24 * HOUR_MS)
    assert sum(r["loads"] for r in again.of("total").values()) == sum(
        T0 <= start < T0 + 3 * 24 * HOUR_MS for _, start in whole.of("load")
    ), "those who read sealed rows keep them"


def test_a_late_event_within_the_horizon_changes_rows_and_beyond_it_is_counted_and_flagged() -> None:
    day_ms = 24 * HOUR_MS
    first = [weighing(1, T0, "A", "tare", 15_000.0), weighing(2, T0 + HOUR_MS, "A", "gross", 45_000.0)]
    within = weighing(3, T0 + HOUR_MS // 2, "A2", "tare", 16_000.0)
    beyond = weighing(4, T0 + HOUR_MS // 2, "A3", "tare", 17_000.0)
    records = road_journal([first, [within], [beyond]], [T0 + HOUR_MS, T0 + 8 * day_ms, T0 + 12 * day_ms])
    pipeline = Pipeline(STREAM, (reading, load))
    told = [pipeline.step(r) for r in records]
    rows = [r for o in told for t in o.rows.get("load", ()) for r in t.to_pylist()]
    assert [r["net_kg"] for r in rows] == [30_000, 29_000]
    counted = [r for o in told for t in o.rows.get("beyond_horizon", ()) for r in t.to_pylist()]
    assert [(r["key"], r["events"]) for r in counted] == [("bridge-m", 1)]
    readings = [r for o in told for t in o.readings for r in t.to_pylist()]
    assert [r["quality"] for r in readings] == [None, None, None, "beyond_horizon"]


def test_rows_go_to_the_unit_that_receives_and_lower_revisions_are_ignored_there() -> None:
    @entity_operator(
        by=by_unit, reads=("load",), horizon_s=9 * DAY_S, reach_s=DAY_S, every_s=60,
        writes={"received": {"net_kg": pa.int64()}},
    )  # fmt: skip
    def received(entity: Entity):
        """What trucks brought."""
        kg = sum(i.values.get("net_kg", 0) for i in entity.of("load"))
        yield EntityRow("received", entity.name, T0, 0, entity.name, {"net_kg": kg}, T0)

    events = trips(3)
    forwards = run(in_order(events)).forwards
    assert {stream for stream, _ in forwards} == {"u1"}
    expected = sum(r["net_kg"] or 0 for r in run(in_order(events)).of("load").values())
    for order in (list(range(len(forwards))), list(reversed(range(len(forwards)))) * 2):
        pipeline = Pipeline("u1", (load, received))
        pipeline.step(Record("u1", 0, T0, registry_frame(ROAD_TEXTS).encode()))
        rows = []
        for n, at in enumerate(order, 1):
            outputs = pipeline.step(Record("u1", n, T0 + n * 70_000, forwards[at][1]))
            rows += [r for t in outputs.rows.get("received", ()) for r in t.to_pylist()]
            assert not outputs.forwards
            assert "load" not in outputs.rows
            if n % 20 == 0:
                pipeline = Pipeline.restore(pipeline.checkpoint(), (load, received))
        assert rows[-1]["net_kg"] == expected
    kinds = {Frame.decode(f).batch.column("kind")[0].as_py() for _, f in forwards}
    assert kinds == {ROW_OF_ANOTHER_STREAM}
    told = [
        json.loads(p)["told"]
        for _, f in forwards
        for p in Frame.decode(f).batch.column("payload").to_pylist()
    ]
    assert max(told) >= 2


def test_an_event_that_comes_twice_with_other_values_counts_once_and_is_flagged() -> None:
    @entity_operator(
        by=by_plate, events=("weighbridge",), horizon_s=DAY_S, reach_s=DAY_S,
        writes={"seen": {"mass_kg": pa.float64(), "flags": pa.string()}},
    )  # fmt: skip
    def seen(entity: Entity):
        """Every weighing."""
        for n, event in enumerate(entity.of("weighbridge")):
            mass = event.values.get("mass_kg")
            yield EntityRow("seen", f"{event.values['ticket']}", event.t, n, "", {"mass_kg": mass,
                            "flags": ";".join(event.flags)}, event.t)  # fmt: skip

    events = [
        weighing(1, T0, "A", "gross", 45_000.0),
        weighing(2, T0, "A", "gross", 44_000.0),
        weighing(3, T0, "A", "gross", 44_000.0),
        weighing(4, T0 + 1, "B", "gross", -5.0),
    ]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2)):
        records = road_journal([[events[n]] for n in order], [T0 + HOUR_MS + n for n in range(4)])
        told = run_road(records, (seen,), until_ms=T0 + 2 * HOUR_MS)
        rows = told.of("seen")
        assert rows["A", T0]["mass_kg"] == 44_000.0
        assert rows["A", T0]["flags"] == "repeat"
        assert rows["B", T0 + 1]["mass_kg"] is None
        assert rows["B", T0 + 1]["flags"] == "implausible:mass_kg"


@mark_operator(reads=("substation",))
def turned(samples, site) -> Marks:
    """When the flow passed 8 m³/h, upwards or downwards."""
    flow = samples["flow_m3_h"]
    at = np.flatnonzero(~np.isnan(flow))
    high, t, device = flow[at] > 8.0, samples.t[at], samples.device[at]
    changed = (high[1:] != high[:-1]) & (device[1:] == device[:-1])
    changed &= (t[1:] >= samples.start_ms) & (t[1:] < samples.end_ms)
    here = np.flatnonzero(changed) + 1
    return Marks(device[here], t[here], {"high": high[here]})


@entity_operator(
    by=by_device, marks=("turned",), horizon_s=5 * DAY_S, reach_s=DAY_S, writes={"turns": {"turns": pa.int64()}},
)  # fmt: skip
def turns(entity: Entity):
    """How often the flow turned since the beginning."""
    marks = entity.of("turned")
    yield EntityRow("turns", entity.name, T0, 0, "u1", {"turns": len(marks)}, T0 + 90 * 24 * HOUR_MS)


MARKED = (
    *(o for o in discovered() if isinstance(o, SampleOperator) or o.name == "device_heat"), turned, turns,
)  # fmt: skip


ONLY_MARKED = tuple(o for o in MARKED if o.name != "device_heat")


def plain_turns(messages) -> dict[str, int]:
    turned = {}
    for device in ("sub-1", "sub-2"):
        samples = sorted((t, v) for m in messages if m.device == device for t, v in m.samples)
        high = [v["flow_m3_h"] > 8.0 for _, v in samples if "flow_m3_h" in v]
        turned[device] = sum(a != b for a, b in pairwise(high))
    return turned


@pytest.mark.parametrize("every", [600_000, None])
def test_marks_are_those_of_all_samples_in_order(every) -> None:
    messages = sorted(history(11, hours=4.0), key=lambda m: (m.newest_t, m.device))
    pipeline = Pipeline("u1", MARKED, provisional_every_ms=every)
    pipeline.step(Record("u1", 0, T0, registry_frame().encode()))
    rng = random.Random(1)
    arriving = sorted(((m.newest_t + rng.randint(0, 120_000), n) for n, m in enumerate(messages)))
    said = {}
    for offset, (at, n) in enumerate([*arriving, *arriving[::3]], 1):
        frame = telemetry_frames([messages[n]])[0]
        outputs = pipeline.step(Record("u1", offset, at, frame.encode()))
        if offset % 50 == 0:
            pipeline = Pipeline.restore(pipeline.checkpoint(), MARKED, provisional_every_ms=every)
        said.update({r["key"]: r["turns"] for t in outputs.rows.get("turns", ()) for r in t.to_pylist()})
    said.update(
        {r["key"]: r["turns"] for t in pipeline.finish().rows.get("turns", ()) for r in t.to_pylist()}
    )
    assert said == plain_turns(messages)
    assert min(said.values()) > 10


def test_marks_follow_samples_that_come_after_their_windows(tmp_path) -> None:
    messages = sorted(history(5, hours=6.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    held = [m for m in messages if m.device == "sub-1" and T0 + HOUR_MS <= m.newest_t < T0 + 2 * HOUR_MS]
    stream = StoredStream(tmp_path / "a.duckdb", MARKED, write_every=20)
    stream.step(registry_frame().encode(), T0)
    arriving = [(m.newest_t + 500, m) for m in messages if m not in held]
    arriving += [(T0 + 5 * HOUR_MS, m) for m in held]
    for at, m in sorted(arriving, key=lambda x: x[0]):
        stream.step(telemetry_frames([m])[0].encode(), at)
    run_all(stream, [])
    stream.store.write([stream.pipeline.finish()])
    assert {k[0]: r["turns"] for k, r in stream.rows("turns").items()} == plain_turns(messages)


@pytest.mark.parametrize("in_order", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_reading_a_year_early_counts_and_costs_a_few_windows(tmp_path, in_order) -> None:
    messages = sorted(history(5, hours=6.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    first = next(m for m in messages if m.device == "sub-1" and "flow_m3_h" in m.samples[0][1])
    flow = 1.0 if first.samples[0][1]["flow_m3_h"] > 8.0 else 12.0
    year_ms = 365 * 24 * HOUR_MS
    early = Message("sub-1", 1, 1, ((T0 - year_ms, {"flow_m3_h": flow}),))
    stream = StoredStream(tmp_path / "a.duckdb", ONLY_MARKED, write_every=20)
    stream.step(registry_frame().encode(), T0 - year_ms if in_order else T0)
    arriving = [(m.newest_t + 500, m) for m in messages]
    arriving.append((T0 - year_ms + 500 if in_order else T0 + 5 * HOUR_MS, early))
    for at, m in sorted(arriving, key=lambda x: x[0]):
        stream.step(telemetry_frames([m])[0].encode(), at)
    run_all(stream, [])
    stream.store.write([stream.pipeline.finish()])
    plain = plain_turns([*messages, early])
    assert plain != plain_turns(messages)
    assert {k[0]: r["turns"] for k, r in stream.rows("turns").items()} == plain
    frames = [Frame.decode(r.frame) for r in stream.journal]
    answers = [RestateAnswer.decode(f) for f in frames if f.kind is FrameKind.RESTATE]
    windows = sum((w.to_ms - w.from_ms) // LATENESS_MS for a in answers for w in a.windows)
    assert windows <= 4
    assert (windows > 0) is not in_order


def bundled(seed: int, rng: random.Random) -> list[tuple[int, Message]]:
    """Samples as terminals send them that gather some hours of them, with when they come; some swap places."""
    arriving: list[tuple[int, Message]] = []
    for device in ("sub-1", "sub-2"):
        t, seq, due = T0, 1, []
        for _ in range(12):
            samples = []
            for _ in range(rng.randint(1, 10)):
                t += rng.choice((60_000, 240_000, 30 * 60_000))
                samples.append((t, {"flow_m3_h": rng.choice((1.0, 12.0))}))
            due.append((t + 500, Message(device, 1, seq, tuple(samples))))
            seq += 1
        at = rng.randrange(len(due) - 2)
        due[at] = due[at + 1][0] + 60_000, due[at][1]  # overtaken by the next one
        arriving += due
    return sorted(arriving, key=lambda x: x[0])


@pytest.mark.parametrize("seed", range(4))
def test_bundles_that_come_late_have_the_marks_of_all_samples_in_order(seed: int, tmp_path) -> None:
    arriving = bundled(seed, random.Random(seed))
    stream = StoredStream(tmp_path / "a.duckdb", ONLY_MARKED, write_every=3)
    stream.step(registry_frame().encode(), T0)
    for n, (at, m) in enumerate(arriving):
        stream.step(telemetry_frames([m])[0].encode(), at)
        if n % 5 == 4:
            stream.pipeline = Pipeline.restore(
                stream.pipeline.checkpoint(), ONLY_MARKED, provisional_every_ms=600_000
            )
    run_all(stream, [])
    stream.store.write([stream.pipeline.finish()])
    plain = plain_turns([m for _, m in arriving])
    assert {k[0]: r["turns"] for k, r in stream.rows("turns").items()} == plain
    assert min(plain.values()) > 10


def test_a_bundle_in_the_order_of_its_device_asks_nothing_of_the_store(tmp_path) -> None:
    half_hours = [(T0 + n * HOUR_MS // 2, {"flow_m3_h": 12.0 if n % 2 else 1.0}) for n in range(30)]
    bundles = [Message("sub-1", 1, n, tuple(half_hours[10 * n : 10 * n + 10])) for n in range(3)]
    stream = StoredStream(tmp_path / "a.duckdb", ONLY_MARKED, write_every=1)
    stream.step(registry_frame().encode(), T0)
    for m in bundles:
        stream.step(telemetry_frames([m])[0].encode(), m.newest_t + 500)
        assert stream.pipeline.restating == 0
    run_all(stream, [])
    stream.store.write([stream.pipeline.finish()])
    assert {k[0]: r["turns"] for k, r in stream.rows("turns").items()} == {"sub-1": 29}
    assert not [r for r in stream.journal if Frame.decode(r.frame).kind is FrameKind.RESTATE]


def test_a_late_sample_takes_back_the_mark_that_an_open_window_made_without_it(tmp_path) -> None:
    flows = ((0, 1.0), (4 * HOUR_MS, 12.0), (3 * HOUR_MS, 12.0))  # the last turned first, and came last
    messages = [Message("sub-1", 1, n, ((T0 + at, {"flow_m3_h": v}),)) for n, (at, v) in enumerate(flows, 1)]
    stream = StoredStream(tmp_path / "a.duckdb", ONLY_MARKED, write_every=1)
    stream.step(registry_frame().encode(), T0)
    for at, m in zip((500, 4 * HOUR_MS + 500, 4 * HOUR_MS + 60_000), messages, strict=True):
        stream.step(telemetry_frames([m])[0].encode(), T0 + at)
    run_all(stream, [])
    stream.store.write([stream.pipeline.finish()])
    assert {k[0]: r["turns"] for k, r in stream.rows("turns").items()} == {"sub-1": 1}


def test_a_registry_that_changes_moves_items_to_others() -> None:
    events = [weighing(1, T0, "A", "tare", 15_000.0), weighing(2, T0 + HOUR_MS, "A", "gross", 45_000.0)]
    records = road_journal([events], [T0 + HOUR_MS])
    pipeline = Pipeline(STREAM, (load, total))
    for record in records:
        pipeline.step(record)
    texts = ROAD_TEXTS | {
        "contracts.csv": ROAD_TEXTS["contracts.csv"]
        + ROAD_TEXTS["contracts.csv"].split("\n")[1].replace("C1", "C9")
        + "\n"
    }
    frame = registry_frame(texts).encode()
    outputs = pipeline.step(Record(STREAM, pipeline.offset + 1, T0 + 3 * HOUR_MS, frame))
    keys = {r["key"] for t in outputs.rows["total"] for r in t.to_pylist()}
    assert "C9" in keys
    assert "C1" not in keys, "nothing changed for it"


def watched(operator: EntityOperator) -> EntityOperator:
    """The operator, held to leave its inputs alone."""

    def function(entity: Entity):
        def copied():
            return [(i.order, json.dumps(i.values, default=str), i.flags) for i in entity.items]

        before = copied()
        rows = list(operator.function(entity))
        assert copied() == before, operator.name
        return rows

    return replace(operator, function=function)


def test_inputs_are_not_mutated() -> None:
    operators = [watched(o) if isinstance(o, EntityOperator) else o for o in ALL]
    told = run_road(in_order(trips(4)), operators, until_ms=UNTIL_MS)
    assert told.rows == run(in_order(trips(4))).rows


def test_what_cannot_be_is_refused() -> None:
    @entity_operator(by=by_plate, reads=("nothing",), writes={}, horizon_s=1, reach_s=1)
    def lonely(entity):
        return ()

    with pytest.raises(ValueError, match=r"lonely: expected to read one of .*, got 'nothing'"):
        Pipeline(STREAM, (lonely,))

    @entity_operator(by=by_plate, reads=("b",), writes={"a": {}}, horizon_s=1, reach_s=1)
    def a(entity):
        return ()

    @entity_operator(by=by_plate, reads=("a",), writes={"b": {}}, horizon_s=1, reach_s=1)
    def b(entity):
        return ()

    with pytest.raises(ValueError, match="ring"):
        Pipeline(STREAM, (a, b))
    with pytest.raises(ValueError, match="horizon"):
        entity_operator(by=by_plate, writes={}, horizon_s=0, reach_s=0)


def test_a_checkpoint_of_another_version_is_refused_and_one_without_entities_begins_anew() -> None:
    records = in_order(trips(2, days=0.5))
    pipeline = Pipeline(STREAM, ALL)
    for record in records:
        pipeline.step(record)
    checkpoint = pipeline.checkpoint()
    assert any(name.startswith("segment/items/weighbridge/") for name in checkpoint.parts)
    newer = dict(checkpoint.parts)
    newer["entities"] = newer["entities"].replace(b'"version": 1', b'"version": 9')
    with pytest.raises(CheckpointError, match="version 9"):
        Pipeline.restore(type(checkpoint)(STREAM, checkpoint.offset, newer), ALL)
    older = {
        n: d
        for n, d in checkpoint.parts.items()
        if "items/" not in n and "said/" not in n and n != "entities"
    }
    again = Pipeline.restore(type(checkpoint)(STREAM, checkpoint.offset, older), ALL)
    assert not again.finish().rows.get("load")


def test_a_day_that_did_not_change_is_not_written_again() -> None:
    pipeline = Pipeline(STREAM, ALL)
    records = in_order(trips(2, days=2.0))
    for record in records[:-1]:
        pipeline.step(record)
    before = pipeline.checkpoint().parts
    pipeline.step(records[-1])
    after = pipeline.checkpoint().parts
    old = [n for n in before if n.startswith("segment/items/") and n in after]
    assert old
    assert all(after[n] is before[n] for n in old)


def test_of_others_rows_only_those_of_the_keys_that_are_asked_for_are_kept() -> None:
    @entity_operator(
        by=lambda item, _site: (item.device,), reads=("device_heat",), horizon_s=DAY_S, reach_s=DAY_S,
        keys={"device_heat": lambda _site: ["sub-2"]}, writes={"seen": {"windows": pa.int64()}},
    )  # fmt: skip
    def seen(entity: Entity):
        """How many windows there were."""
        fields = {"windows": len(entity.of("device_heat"))}
        yield EntityRow("seen", entity.name, T0, 0, "u1", fields, T0)

    operators = (*(o for o in discovered() if o.name == "device_heat"), seen)
    pipeline = Pipeline("u1", operators)
    pipeline.step(Record("u1", 0, T0, registry_frame().encode()))
    rows = []
    for n, m in enumerate(sorted(history(3), key=lambda m: m.newest_t), 1):
        outputs = pipeline.step(Record("u1", n, m.newest_t, telemetry_frames([m])[0].encode()))
        rows += [r for t in outputs.rows.get("seen", ()) for r in t.to_pylist()]
    assert {r["key"] for r in rows} == {"sub-2"}
    assert not any(b"sub-1" in d for n, d in pipeline.checkpoint().parts.items() if "items/device_heat" in n)


def test_a_frame_of_another_kind_of_action_is_passed_over() -> None:
    pipeline = Pipeline(STREAM, ALL)
    payload = json.dumps(
        {"measurement": "elsewhere", "key": "k", "start_ms": 1, "stream": "x", "told": 1, "values": {}}
    )
    frame = Frame.events(
        [{"device": "", "kind": ROW_OF_ANOTHER_STREAM, "payload": payload}], FrameKind.ACTION
    )
    assert not pipeline.step(Record(STREAM, 0, T0, frame.encode())).rows
