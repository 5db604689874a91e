"""Laws that hold for every registered operator: only the set of samples matters."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from models.frame import Record
from models.site_files import parse_site
from streams.core.buffer import ClassBuffer
from streams.core.operator import WindowOperator, discovered
from streams.core.pipeline import Pipeline
from streams.core.rows import Rows, concat, numeric_columns
from streams.core.samples import ClassSamples, Samples, window_rows
from streams.core.stream_site import StreamSite
from tests.support.examples import RANDOM, SEEDS, law
from tests.support.restating import REWRITTEN_MS
from tests.support.results import Said
from tests.support.telemetry import (
    CLASS_OF,
    GAP_MS,
    HELD_MS,
    SITE_TEXTS,
    T0,
    Log,
    Message,
    history,
    registry_frame,
    telemetry_frames,
)

WINDOWS = [o for o in discovered() if isinstance(o, WindowOperator)]
LATENESS_MS = 900_000


def journal(
    batches: list[list[Message]], arrivals: list[int], texts: dict[str, str] | None = None
) -> list[Record]:
    log = Log()
    log.append(registry_frame(texts), T0)
    before = T0
    for batch, arrival in zip(batches, arrivals, strict=True):
        # As ingest does: only the last frame of a flush moves now, so that no class makes another late.
        *others, last = telemetry_frames(batch)
        for frame in others:
            log.append(frame, before)
        log.append(last, arrival)
        before = arrival
    return log.records


def run(
    records: list[Record], *, crash_at: int | None = None, provisional_every_ms: int | None = REWRITTEN_MS
) -> Said:
    pipeline = Pipeline("u1", provisional_every_ms=provisional_every_ms)
    said = Said()
    kept = pipeline.checkpoint()
    at = 0
    while at < len(records):
        if crash_at is not None and at == crash_at:
            pipeline = Pipeline.restore(kept, provisional_every_ms=provisional_every_ms)
        outputs = pipeline.step(records[at])
        said.take([outputs])
        if crash_at is not None and at == crash_at // 2:
            # What follows the checkpoint is stepped again after the crash.
            kept = pipeline.checkpoint()
            at_kept = at
        at += 1
        if crash_at is not None and at == crash_at:
            pipeline = Pipeline.restore(kept, provisional_every_ms=provisional_every_ms)
            again = [pipeline.step(r) for r in records[at_kept + 1 : crash_at]]
            for outputs in again:
                outputs.readings.clear()  # a store passes over readings that it holds
                outputs.repeats.clear()
            said.take(again)
            crash_at = None
    from models.frame import Frame

    settled = pipeline.settled_ms()
    assert settled is not None
    said.take([pipeline.step(Record("u1", records[-1].offset + 1, settled, Frame.heartbeat().encode()))])
    said.take([pipeline.finish()])
    return said


def in_order(messages: list[Message]) -> list[Record]:
    ordered = sorted(messages, key=lambda m: (m.newest_t, m.device))
    return journal([[m] for m in ordered], [m.newest_t + 500 for m in ordered])


def equal(a: Said, b: Said) -> None:
    for operator in WINDOWS:
        of_a, of_b = a.settled(operator.name, "revision"), b.settled(operator.name, "revision")
        # A run whose now went further has settled more windows: compare what is final in both.
        until = min(max(start for _, start in rows) for rows in (of_a, of_b))
        assert {k: r for k, r in of_a.items() if k[1] <= until} == {
            k: r for k, r in of_b.items() if k[1] <= until
        }
    drop = ("offset", "received_ms", "replaces", "late")
    assert {k: {c: v for c, v in r.items() if c not in drop} for k, r in a.readings.items()} == {
        k: {c: v for c, v in r.items() if c not in drop} for k, r in b.readings.items()
    }


@law(gate=1, soak=10, seed=SEEDS, size=st.sampled_from([30, 1, 10, 40]), rng=RANDOM)
def test_splitting_changes_nothing(seed: int, size: int, rng) -> None:
    messages = history(seed)
    ordered = sorted(messages, key=lambda m: (m.newest_t, m.device))
    cuts = sorted(rng.sample(range(1, len(ordered)), min(size, len(ordered) - 1)))
    batches = [ordered[a:b] for a, b in zip([0, *cuts], [*cuts, len(ordered)], strict=True)]
    split = journal(batches, [max(m.newest_t for m in b) + 500 for b in batches])
    equal(run(in_order(messages)), run(split))


@law(gate=1, soak=10, seed=SEEDS, rng=RANDOM)
def test_order_and_duplication_within_the_lateness_change_nothing(seed: int, rng) -> None:
    messages = history(seed)
    delayed = [(m.newest_t + rng.randint(0, LATENESS_MS - GAP_MS - HELD_MS - 10_000), m) for m in messages]
    delayed += [(at + rng.randint(0, 3_600_000), m) for at, m in delayed if rng.random() < 0.3]
    delayed.sort(key=lambda x: x[0])
    shuffled = journal([[m] for _, m in delayed], [at for at, _ in delayed])
    clean, disordered = run(in_order(messages)), run(shuffled)
    equal(clean, disordered)
    counts = {k: r["stored"] for k, r in clean.rows["ledger"].items()}
    assert sum(counts.values()) == len(messages)
    last = {}
    for (key, _), row in sorted(disordered.rows["ledger"].items(), key=lambda x: x[0][1]):
        last[key] = row
    assert sum(r["stored"] for r in last.values()) == len(messages)
    assert sum(r["duplicate"] for r in last.values()) == len(delayed) - len(messages)
    assert all(r["unaccounted"] == 0 for r in last.values())


@law(gate=1, soak=10, seed=SEEDS)
def test_settled_rows_do_not_depend_on_provisional_ones(seed: int) -> None:
    records = in_order(history(seed))
    equal(run(records), run(records, provisional_every_ms=None))


def batch_rows(
    operator: WindowOperator, messages: list[Message], texts: dict[str, str] = SITE_TEXTS
) -> dict[tuple[str, int], dict]:
    """Rows of a plain computation, window by window, over the whole history."""
    speak = {m.device for m in messages}
    devices = [d for d in CLASS_OF if CLASS_OF[d] in operator.reads and d in speak]
    site = StreamSite(parse_site(texts)[0], devices, {})
    classes = {}
    for device_class in sorted({CLASS_OF[d] for d in devices}):
        columns = numeric_columns(device_class)
        samples = [(devices.index(m.device), t, v) for m in messages if CLASS_OF[m.device] == device_class
                   for t, v in m.samples]  # fmt: skip
        samples.sort(key=lambda s: s[:2])
        zeros = np.zeros(len(samples), np.int64)
        values = np.array([[v.get(c, np.nan) for _, _, v in samples] for c in columns])
        classes[device_class] = Rows(
            np.array([s[0] for s in samples]), np.array([s[1] for s in samples]), zeros, zeros, zeros, values
        )  # fmt: skip
    every = 1000 * operator.every_s
    expected = {}
    newest = max(int(r.t.max()) for r in classes.values())
    for start in range(T0, newest + 1, every):
        parts = []
        for name, rows in classes.items():
            before, inside, after = (
                rows.take(rows.t < start), rows.take((rows.t >= start) & (rows.t < start + every)),
                rows.take(rows.t >= start + every),
            )  # fmt: skip
            columns = numeric_columns(name)
            everybody = np.ones(len(devices), bool)
            parts.append(ClassSamples(columns, window_rows(before, inside, after, columns, everybody)))
        window = Samples(start, start + every, parts)
        result = operator.function(window, site)
        for at, device in enumerate(window.devices):
            values = {f: float(getattr(result, f)[at]) for f in operator.fields}
            expected[devices[device], start] = {
                **{f: None if np.isnan(v) else v for f, v in values.items()},
                "coverage": float(result.coverage[at]), "reason": result.reason[at] or None,
            }  # fmt: skip
    return expected


@law(gate=1, soak=10, seed=SEEDS)
def test_results_equal_a_batch_computation_over_the_whole_history(seed: int) -> None:
    messages = history(seed)
    done = run(in_order(messages))
    for operator in WINDOWS:
        expected = batch_rows(operator, messages)
        said = done.settled(operator.name)
        got = {k: {c: row[c] for c in expected[k]} for k, row in said.items() if k in expected}
        assert got == expected, operator.name


def test_inputs_are_not_mutated() -> None:
    buffer = ClassBuffer("substation")
    rows = Rows(*(np.arange(6, dtype=np.int64) for _ in range(5)), values=np.ones((len(buffer.columns), 6)))
    before = concat([rows.take(np.arange(6))], len(buffer.columns))
    buffer.add(rows, 6)
    assert buffer.inside(0, 900_000).n == 6
    assert (rows.values == before.values).all()
