"""A leap of now in a worker: the loop goes on, the store has each slice, and no checkpoint comes before its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from models.results import Outputs
from streams.core.pipeline import Pipeline
from streams.runtime import faust_app
from streams.runtime.faust_app import FrameWorker
from streams.runtime.faust_partition import PartitionRun, Pipelines
from streams.runtime.faust_settings import WorkerSettings
from tests.support.results import Said
from tests.support.silence import GAP_MS, silence

QUARTERS = GAP_MS // 900_000
PIPELINES = Pipelines(Pipeline, Pipeline.restore)


class Sink:
    """Keeps what it is given, and how far the worker was then."""

    def __init__(self) -> None:
        self.said = Said()
        self.writes = 0
        self.seen: list[Any] = []
        self.look: Any = lambda: None

    def write(self, outputs: Sequence[Outputs]) -> None:
        self.writes += 1
        self.said.take(outputs)
        self.seen.append((self.look(), [o.offset for o in outputs]))


@pytest.fixture
def worker(monkeypatch) -> FrameWorker:
    """A worker outside any group, which owns what it is given, and a slice of nothing."""
    monkeypatch.setattr(faust_app, "SLICE_S", 0.0)
    reasons: list[Any] = []
    settings = WorkerSettings("127.0.0.1:9", group="leaping", checkpoint_s=0.0, flush_s=0.0, session_s=600.0)
    made = FrameWorker(settings, PIPELINES, Sink(), leave=lambda *why: reasons.append(why))
    made.app.flow_control.resume()
    made._lease.renew(made._lease.now())
    made.reasons = reasons
    return made


def events(acked: list[int] | None = None) -> list[Any]:
    """What Kafka gives of `silence`; `acked` hears of what is acknowledged."""
    found = []
    for offset, (at, frame) in enumerate(silence()):
        message = SimpleNamespace(
            generation_id=0, partition=2, offset=offset, key=b"u1", value=frame.encode(), timestamp=at / 1000
        )
        ack = partial((acked if acked is not None else []).append, offset)
        found.append(SimpleNamespace(message=message, ack=ack))
    return found


def undisturbed() -> Said:
    run = PartitionRun.load(2, 0, {}, 0, PIPELINES)
    for event in events():
        m = event.message
        run.step(m.key, m.offset, round(1000 * m.timestamp), m.value)
    return Said().take(run.take_outputs())


def test_a_leap_is_stored_slice_by_slice_and_checkpointed_after_its_end(worker: FrameWorker) -> None:
    acked: list[int] = []
    *before, leap = events(acked)
    amid_checkpoints: list[bool] = []

    async def confirm(run: PartitionRun, _writes: object) -> None:
        amid_checkpoints.append(run.leap is not None)

    worker._confirm = confirm

    async def take() -> None:
        for event in before:
            await worker._take(event)
        run, sink = worker._runs[2], worker._sink
        await worker._safely(run, worker._flush)
        sink.seen.clear()
        writes, ticks = sink.writes, []
        sink.look = lambda: (run.offset, worker.standing().leaps)

        async def meanwhile() -> None:
            while run.offset < leap.message.offset:
                ticks.append(run.leap is not None)
                await worker._tick()
                if run.leap is not None:
                    await worker._safely(run, worker._checkpoint)  # as one that waited for its turn
                await asyncio.sleep(0)

        beside = asyncio.create_task(meanwhile())
        await worker._take(leap)
        await beside
        assert sum(ticks) > QUARTERS, "expected the loop to go on between slices"
        assert sink.writes - writes >= QUARTERS
        amid = [(at, leaps["u1"], offsets) for (at, leaps), offsets in sink.seen if leaps]
        assert len(amid) >= QUARTERS
        assert {leap.to_ms for _, leap, _ in amid} == {silence()[-1][0]}
        assert {o for at, _, offsets in amid for o in (at, *offsets)} == {leap.message.offset - 1}
        assert (run.offset, run.leap) == (leap.message.offset, None)
        await worker._safely(run, worker._checkpoint)
        assert acked == list(range(leap.message.offset + 1))
        assert amid_checkpoints, "expected a checkpoint at the end"
        assert not any(amid_checkpoints)

    asyncio.run(take())
    assert worker.reasons == []
    expected = undisturbed()
    assert worker._sink.said.rows == expected.rows
    assert worker._sink.said.readings == expected.readings


def test_a_worker_that_loses_its_partition_amid_a_leap_gives_the_record_up(worker: FrameWorker) -> None:
    *before, leap = events()

    async def take() -> None:
        for event in before:
            await worker._take(event)
        run = worker._runs[2]

        async def rebalance() -> None:
            worker.app.consumer_generation_id = 1

        lost = asyncio.create_task(rebalance())  # its turn comes where the leap first gives way
        await worker._take(leap)
        await lost
        assert run.leap is not None, "expected it to be amid the leap"
        assert run.pending == before
        for event in events():
            event.message.generation_id = 1
            await worker._take(event)
        assert worker._runs[2] is not run
        await worker._safely(worker._runs[2], worker._flush)

    asyncio.run(take())
    assert worker.reasons == []
    assert worker._sink.said.rows == undisturbed().rows


def test_a_run_goes_on_with_no_other_record_amid_a_leap() -> None:
    run = PartitionRun.load(2, 0, {}, 0, PIPELINES)
    *before, leap = [e.message for e in events()]
    for m in before:
        run.step(m.key, m.offset, round(1000 * m.timestamp), m.value)
    steps = run.steps(leap.key, leap.offset, round(1000 * leap.timestamp), leap.value)
    for _ in range(5):
        assert next(steps) == run.leap
        assert [o.offset for o in run.take_outputs()] in ([leap.offset - 1], [])
        assert run.offset == leap.offset - 1
        assert run.leaps() == {"u1": run.leap}
    assert run.now_ms() == {"u1": before[-1].timestamp * 1000}
