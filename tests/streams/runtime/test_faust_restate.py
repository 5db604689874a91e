"""A worker's answers to what streams ask of the store: turn by turn, and none to a stream that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from models.results import SinkError
from streams.core.buffer import BUCKET_MS
from streams.core.pipeline import Pipeline
from streams.runtime.faust_app import FrameWorker
from streams.runtime.faust_partition import PartitionRun, Pipelines
from streams.runtime.faust_settings import WorkerSettings


def _part(name: str, quarters: int = 150) -> Any:
    """A part of an answer of so many quarters of an hour."""
    return SimpleNamespace(
        windows=[SimpleNamespace(from_ms=0, to_ms=quarters * BUCKET_MS)], encode=name.encode
    )


class Answers:
    """What a store answers, a worker that owns a partition, and what that sends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent: list[bytes] = []
        self.reasons: list[Any] = []
        self.on_read: Callable[[], None] = lambda: None
        self.on_part: Callable[[int], None] = lambda _n: None
        self.on_send: Callable[[], None] = lambda: None
        settings = WorkerSettings("127.0.0.1:9", group="answering", session_s=600.0)
        pipelines = Pipelines(Pipeline, Pipeline.restore, self._answer)
        self.worker = FrameWorker(
            settings, pipelines, SimpleNamespace(), leave=lambda *why: self.reasons.append(why)
        )
        self.worker.app.flow_control.resume()
        self.worker._lease.renew(self.worker._lease.now())
        self.worker._frames = SimpleNamespace(send=self._send)
        self.run = PartitionRun.load(2, 0, {}, 0, pipelines)
        self.run.stored = 0
        self.worker._runs[2] = self.run
        self.ask("first")

    def ask(self, name: str) -> None:
        """Have the stream wait for an answer."""
        request = SimpleNamespace(name=name, stream="u1", offset=0)
        self.run._running["u1"] = SimpleNamespace(request=request, now_ms=5_000)

    def _answer(self, request: Any) -> Iterator[Any]:
        self.asked.append(request.name)
        self.on_read()
        for n in range(3):
            self.on_part(n)
            yield _part(f"{request.name}-{n}")

    async def _send(self, **about: Any) -> Any:
        assert (about["key"], about["partition"], about["timestamp"]) == (b"u1", 2, 5.0)
        self.sent.append(about["value"])
        self.on_send()
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(offset=len(self.sent)))
        return done

    def stand_still(self) -> None:
        """The stream cannot go on."""
        if "u1" not in self.run.standing:
            self.run._stand_still("u1", ZeroDivisionError())

    async def turn(self) -> list[bytes]:
        """What is sent at a tick, but for heartbeats."""
        before = len(self.sent)
        if self.run.requests():
            await self.worker._safely(self.run, self.worker._restate)
        assert self.reasons == []
        return [x for x in self.sent[before:] if x.startswith((b"first", b"other"))]


@pytest.fixture
def answers() -> Answers:
    return Answers()


def test_an_answer_goes_on_where_it_was_and_each_turn_waits_for_the_one_before(answers: Answers) -> None:
    async def ticks() -> None:
        assert await answers.turn() == [b"first-0"]
        assert await answers.turn() == [], "what was sent is not stepped yet"
        answers.run.offset = len(answers.sent)
        assert await answers.turn() == [b"first-1"]
        answers.run.offset = len(answers.sent)
        assert await answers.turn() == [b"first-2"]
        answers.run.offset = len(answers.sent)
        assert await answers.turn() == []

    asyncio.run(ticks())
    assert answers.asked == ["first"], "the store is read once for an answer"
    assert (answers.run.answered, answers.run.answering) == ({"u1": "first"}, {})


def test_another_request_amid_an_answer_is_answered_from_its_beginning(answers: Answers) -> None:
    async def ticks() -> None:
        assert await answers.turn() == [b"first-0"]
        answers.run.offset = len(answers.sent)
        answers.ask("other")
        assert await answers.turn() == [b"other-0"]

    asyncio.run(ticks())
    assert answers.asked == ["first", "other"]


def test_a_stream_that_stands_still_while_the_store_is_read_is_sent_nothing(answers: Answers) -> None:
    answers.on_read = answers.stand_still
    assert asyncio.run(answers.turn()) == []
    assert answers.sent == []
    assert answers.run.answering == {}


def test_a_stream_that_stands_still_amid_a_turn_is_not_noted_as_answered(answers: Answers) -> None:
    answers.on_send = answers.stand_still
    answers.run.offset = 0

    async def ticks() -> None:
        assert await answers.turn() == [b"first-0"]
        assert answers.run.requests() == []

    asyncio.run(ticks())
    assert (answers.run.answered, answers.run.answering) == ({}, {})


def test_a_last_turn_amid_which_its_stream_stands_still_is_none(answers: Answers) -> None:
    async def ticks() -> None:
        for _ in range(2):
            await answers.turn()
            answers.run.offset = len(answers.sent)
        answers.on_send = answers.stand_still
        assert await answers.turn() == [b"first-2"]

    asyncio.run(ticks())
    assert (answers.run.answered, answers.run.answering) == ({}, {}), "the next start asks again"


def test_a_store_that_goes_away_amid_an_answer_is_asked_again_from_the_beginning(answers: Answers) -> None:
    def away(part: int) -> None:
        if part == 2:
            raise SinkError("away")

    async def ticks() -> None:
        answers.on_part = away
        assert await answers.turn() == [b"first-0"]
        answers.run.offset = len(answers.sent)
        assert await answers.turn() == []
        assert answers.run.retry_at > answers.worker._lease.now()
        answers.on_part = lambda _n: None
        told = []
        for _ in range(3):
            told += await answers.turn()
            answers.run.offset = len(answers.sent)
        assert told == [b"first-0", b"first-1", b"first-2"]

    asyncio.run(ticks())
    assert answers.asked == ["first", "first"]
    assert not answers.worker._writing
