"""The worker of the distributed mode: pipelines over Kafka's topic of frames, by Faust.

Faust gives the group, the partitions, the table's changelog and its restore.
The position is the checkpoint's, not the commit's: commits only show lag.
"""

from __future__ import annotations

import asyncio
import logging
import logging.config
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import faust
from aiokafka.errors import KafkaError
from faust.types import TP

from journal.kafka import BEGINNING_MS
from models.frame import Frame
from models.restate import RestateRequest
from models.results import Outputs, SinkError
from streams.core.checkpoint import CheckpointError
from streams.core.leap import SLICE_S
from streams.runtime.answering import Answering
from streams.runtime.checkpoint_slots import CheckpointSlots, marker_keys
from streams.runtime.failing import Failing, log_new
from streams.runtime.faust_lease import Lease
from streams.runtime.faust_partition import Answer, PartitionRun, Pipelines, Sink
from streams.runtime.faust_process import EXIT_REFUSED, EXIT_RESTART, WorkerApp, leave, log_config
from streams.runtime.faust_settings import CHECKPOINT_TABLE, WorkerSettings
from streams.runtime.faust_standing import WorkerStanding, standing_of
from streams.runtime.faust_watch import StallWatch

__all__ = ["EXIT_RESTART", "FrameWorker", "run_worker"]

_TICK_S: Final = 0.25
_MOST_UNSAVED: Final = 4_000  # records whose results the store does not hold yet
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 30.0
_HEARTBEAT: Final = Frame.heartbeat().encode()
_CONFIRM_SHARE: Final = 0.6  # of the session: a checkpoint that takes longer is given up before the lease is

log = logging.getLogger("hearthline.worker")


class _AbandonedError(Exception):
    """The partition is another owner's by now: what was not made safe is computed again there."""


class FrameWorker:
    """Steps the pipelines of the partitions that Kafka gives to this process.

    Parameters
    ----------
    settings : WorkerSettings
    sink : Sink
        Holds every result before the checkpoint that covers it.
    unavailable : tuple of exception types
        What `sink` raises when it cannot be reached now: the worker holds back and tries again.
    leave : callable
        Ends the process with a reason, and a status when it is not to be started again at once.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        pipelines: Pipelines,
        sink: Sink,
        *,
        unavailable: tuple[type[Exception], ...] = (),
        leave: Callable[..., None] = leave,
    ):
        self.settings = settings
        self.degraded = ""
        self.stepped = 0
        self.checkpoint_took: Callable[[float], None] = lambda _s: None
        self._sink = sink
        self._unavailable = unavailable
        self._pipelines = pipelines
        self._leave = leave
        self._lease = Lease(settings.session_s)
        self._runs: dict[int, PartitionRun] = {}
        self._log_starts: dict[int, int] = {}
        self._failing: dict[int, Failing] = {}
        self._read_from: dict[int, int] = {}
        self._saving = asyncio.Lock()
        self._room = asyncio.Event()
        self._room.set()
        # One thread: a store's connection is its own, and writes keep their order.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._started = self._lease.now()
        self._stall = StallWatch(self._lease.now)
        self._moves = 0
        self._writing = False
        self.app = self._build()

    def _build(self) -> WorkerApp:
        app = WorkerApp(self.settings.group, autodiscover=False, **self.settings.faust())
        app.lease = self._lease
        app.starts = self._starts
        app.before_stop = self._before_stop
        app.stop_s = self.settings.stop_s
        frames = app.topic(
            self.settings.topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=self.settings.partitions,
        )
        self._table = app.Table(
            CHECKPOINT_TABLE, key_type=bytes, value_type=bytes, partitions=self.settings.partitions
        )
        self._frames = frames
        app.agent(frames, concurrency=1, name="frames")(self._consume)
        app.timer(_TICK_S)(self._tick)
        app.timer(1.0)(self._watch)
        return app

    def _starts(self, log_starts: Mapping[TP, int]) -> dict[TP, int]:
        """Where to read on in each partition: after its checkpoint, or at the log's start."""
        starts: dict[TP, int] = {}
        for tp, log_start in log_starts.items():
            try:
                after = CheckpointSlots.load(tp.partition, self._table.data).offset + 1
            except CheckpointError:
                after = log_start  # the first record finds it unreadable, too, and says what is done
            if log_start > after:
                log.error(
                    "partition %d: expected records from %d, but Kafka keeps them from %d on only",
                    tp.partition, after, log_start,
                )  # fmt: skip
            self._log_starts[tp.partition] = log_start
            starts[tp] = self._read_from[tp.partition] = max(after, log_start)
        return starts

    async def _consume(self, stream: Any) -> None:
        try:
            async for event in stream.noack().events():
                await self._room.wait()
                await self._take(event)
        except asyncio.CancelledError:
            raise
        except CheckpointError:
            await self._begin_anew()
        except Exception as error:
            # An exception that leaves an agent ends it in silence, and its partitions with it.
            log.exception("a record could not be taken in")
            self._leave(f"{type(error).__name__}: {error}")

    def _recount(self) -> None:
        """Hold back while the store is away or behind: what it lacks must not fill the memory."""
        unsaved = sum(run.unsaved for run in self._runs.values())
        if self.degraded or unsaved >= _MOST_UNSAVED:
            self._room.clear()
        else:
            self._room.set()

    async def _take(self, event: Any) -> None:
        message = event.message
        if message.generation_id != self.app.consumer_generation_id:
            return
        run = self._runs.get(message.partition)
        if run is None or run.generation != message.generation_id:
            run = self._load(message.partition, message.generation_id)
        at_ms = round(message.timestamp * 1000)
        began = self._lease.now()
        for _ in run.steps(message.key, message.offset, at_ms if at_ms > BEGINNING_MS else 0, message.value):
            self._moves += 1
            if self._lease.now() - began < SLICE_S:
                continue
            await asyncio.sleep(0)  # rebalances and other partitions must not wait for a leap's end
            if self._lease.now() - run.flushed_at >= self.settings.flush_s:
                await self._safely(run, self._flush)
            began = self._lease.now()
            if self._runs.get(run.partition) is not run or not self._current(run):
                return  # whoever owns the partition now begins this record anew
        run.pending.append(event)
        self.stepped += 1
        self._recount()
        self._moves += 1

    def _load(self, partition: int, generation: int) -> PartitionRun:
        # Not when partitions are assigned: that comes before the restore of the table.
        log_start = self._log_starts.get(partition, 0)
        log_end = self._log_end(partition) if log_start > 0 else 0
        run = PartitionRun.load(partition, generation, self._table.data, log_start, self._pipelines, log_end)
        run.checkpointed_at = run.flushed_at = self._lease.now()
        self._runs[partition] = run
        log.info("partition %d: epoch %d goes on after record %d", partition, run.slots.epoch, run.offset)
        return run

    def _log_end(self, partition: int) -> int:
        """After the last record that Kafka has; 0 where that is not known yet."""
        return self.app.consumer.highwater(TP(self.settings.topic, partition)) or 0

    async def _begin_anew(self) -> None:
        """Forget the checkpoints that cannot be read, and leave: a new process computes from the log's start.

        Only where Kafka still keeps every record: of a part of them other results would come.
        """
        unreadable = self._unreadable()
        for partition, error in unreadable.items():
            log_start = self._log_starts[partition]
            if log_start > 0:
                self._leave(
                    f"partition {partition}: {error}. It cannot be computed anew, as Kafka keeps its"
                    f" records from {log_start} on only. Run the release that wrote it; or start all"
                    " workers with another --group, which begins at the oldest records kept",
                    EXIT_REFUSED,
                )
                return
            log.error("partition %d: %s; it is computed anew from its first record", partition, error)
        if not self._lease.valid:  # last before anything is sent: reading them may have taken long
            self._leave("another worker may own the partitions")
            return
        forgotten = [
            self._table.send_changelog(partition, key, None)
            for partition in unreadable
            for key in marker_keys(partition)
        ]
        done, waiting = await asyncio.wait(forgotten, timeout=_CONFIRM_SHARE * self.settings.session_s)
        if waiting or any(future.exception() for future in done):
            self._leave("Kafka did not confirm in time that checkpoints are forgotten")
        self._leave("checkpoints that could not be read are forgotten")

    def _unreadable(self) -> dict[int, CheckpointError]:
        """Partitions whose checkpoint cannot be read, with the reason."""
        found: dict[int, CheckpointError] = {}
        for partition, log_start in self._log_starts.items():
            try:
                PartitionRun.load(partition, 0, self._table.data, log_start, self._pipelines)
            except CheckpointError as error:
                found[partition] = error
        return found

    async def _tick(self) -> None:
        """Flush and checkpoint what is due; records are taken in meanwhile."""
        for run in list(self._runs.values()):
            if run.leap is not None:  # it has what it gives stored itself, and no checkpoint before its end
                continue
            now = self._lease.now()
            due = now - run.checkpointed_at >= self.settings.checkpoint_s
            full = len(run.pending) >= self.settings.checkpoint_records
            if run.pending and not run.standing and (due or full):
                await self._safely(run, self._checkpoint)
            elif now - run.flushed_at >= self.settings.flush_s:
                await self._safely(run, self._flush)
            if self._pipelines.answer is not None and now >= run.retry_at and run.requests():
                await self._safely(run, self._restate)

    async def _safely(self, run: PartitionRun, act: Callable[[PartitionRun], Any]) -> None:
        try:
            async with self._saving:
                await act(run)
        except _AbandonedError:
            log.info("partition %d: given up after record %d", run.partition, run.offset)
            if self._runs.get(run.partition) is run:
                del self._runs[run.partition]
            self.degraded = ""
            self._recount()
        except TimeoutError:
            run.checkpointed_at = self._lease.now()
            log.warning(
                "partition %d: Kafka did not confirm a checkpoint in time; trying again", run.partition
            )
        except CheckpointError as error:
            self._leave(str(error))
        except SinkError as error:
            # Such as a token without rights: a new process reads it anew, and Kafka keeps what waits.
            self._leave(f"the store refuses: {error}")
        except Exception as error:
            log.exception("partition %d could not be made safe", run.partition)
            self._leave(f"{type(error).__name__}: {error}")

    def _may_write(self, run: PartitionRun) -> None:
        """Check before every write: still the owner, and within the session."""
        if (
            self._runs.get(run.partition) is not run
            or not self._current(run)
            or not self.app.flow_control.is_active()
        ):
            raise _AbandonedError
        if not self._lease.valid:
            self._leave(
                f"no answered heartbeat for {self._lease.age():.1f} s: another worker may own the partitions"
            )

    def _current(self, run: PartitionRun) -> bool:
        return bool(run.generation == self.app.consumer_generation_id)

    async def _flush(self, run: PartitionRun) -> None:
        covered = len(run.pending)
        await self._write(run, run.take_outputs())
        if run.standing:  # no checkpoint comes that would let them go; the next start reads them again
            self._acknowledge(run, covered)
        failing = run.failing()
        log_new(self._failing.get(run.partition, {}), failing, log)
        self._failing[run.partition] = failing

    async def _write(self, run: PartitionRun, outputs: list[Outputs]) -> None:
        """Give the sink what was computed; holds back, and with it the source, while it is away."""
        records, stored = run.unsaved, run.offset
        backoff_s = _FIRST_BACKOFF_S
        while outputs:
            self._may_write(run)
            self._writing = True  # a store may be slow for as long as it has patience
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._sink.write, outputs)
                break
            except self._unavailable as error:
                self.degraded = str(error) or type(error).__name__
                self._recount()
                log.warning("degraded: the store is away, trying again in %.1f s: %s", backoff_s, error)
            finally:
                self._writing = False
            await self._hold_back(run, backoff_s)
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
        if self.degraded and outputs:
            log.warning("the store answers again")
            self.degraded = ""
        run.unsaved -= records
        run.stored = max(run.stored, stored)
        run.forwards += [forward for each in outputs for forward in each.forwards]
        await self._forward(run)
        self._recount()
        run.flushed_at = self._lease.now()

    async def _forward(self, run: PartitionRun) -> None:
        """Tell other streams what they must know; a checkpoint waits until Kafka has it."""
        if not run.forwards:
            return
        self._may_write(run)
        # Of another stream's now nothing is known here: the record must not move it, unless the broker
        # gives it a time. Where now stands still, what rests on that row waits for such a heartbeat.
        beats = [(stream, _HEARTBEAT) for stream in sorted({stream for stream, _ in run.forwards})]
        sent: list[Any] = [
            await self._frames.send(key=stream.encode(), value=frame, timestamp=BEGINNING_MS / 1000)
            for stream, frame in [*run.forwards, *beats]
        ]
        done, waiting = await asyncio.wait(sent, timeout=_CONFIRM_SHARE * self.settings.session_s)
        if waiting or any(future.exception() for future in done):
            raise TimeoutError
        run.forwards.clear()

    async def _restate(self, run: PartitionRun) -> None:
        """Answer what streams ask of the store, as frames of their topic; tried again at the next tick."""
        answer = self._pipelines.answer
        assert answer is not None
        for request, now_ms in run.requests():
            self._may_write(run)
            self._writing = True
            try:
                answering, turn = await asyncio.get_running_loop().run_in_executor(
                    self._writer, _turn, run.answering.get(request.stream), answer, request
                )
            except SinkError as error:
                run.answering.pop(request.stream, None)
                log.warning("a restatement waits for the store: %s", error)
                run.retry_at = self._lease.now() + _LAST_BACKOFF_S
                return
            finally:
                self._writing = False
            self._may_write(run)
            if request.stream in run.standing:
                continue
            run.answering[request.stream] = answering
            key = request.stream.encode()
            sent: list[Any] = [
                await self._frames.send(key=key, value=p, partition=run.partition, timestamp=now_ms / 1000)
                for p in [*turn, _HEARTBEAT]
            ]
            # A send error inside Faust's buffer leaves its future unresolved for ever.
            done, waiting = await asyncio.wait(sent, timeout=_CONFIRM_SHARE * self.settings.session_s)
            if waiting or any(future.exception() for future in done):
                log.warning("Kafka did not confirm a restatement in time; trying again")
                return
            if request.stream in run.standing:  # since it was asked, or amid the frames of this turn
                continue
            if answering.handed_out(max(future.result().offset for future in done)):
                run.answered[request.stream] = request.name
                run.answering.pop(request.stream, None)

    async def _hold_back(self, run: PartitionRun, seconds: float) -> None:
        until = self._lease.now() + seconds
        while self._lease.now() < until:
            self._may_write(run)  # a rebalance must not wait for the store
            await asyncio.sleep(min(_TICK_S, seconds))
            self._moves += 1

    async def _checkpoint(self, run: PartitionRun) -> None:
        """Sink, then parts, then marker, then acknowledgement: each durable before the next."""
        if run.leap is not None:  # it began while this waited for its turn
            return
        # Taken together, without a pause: one record boundary.
        began = self._lease.now()
        outputs, plan, covered = run.take_outputs(), run.plan(), len(run.pending)
        await self._write(run, outputs)
        if plan is None:
            return
        await self._confirm(run, plan.parts)
        await self._confirm(run, [plan.marker])
        swept = run.slots.confirm(plan)
        self._acknowledge(run, covered)
        run.checkpointed_at = self._lease.now()
        self.checkpoint_took(run.checkpointed_at - began)
        for key in swept:
            self._table.send_changelog(run.partition, key, None)
            self._table.data.pop(key, None)

    @staticmethod
    def _acknowledge(run: PartitionRun, covered: int) -> None:
        """Let the first events go; Kafka's commits are no position, and only show lag."""
        for event in run.pending[:covered]:
            event.ack()
        del run.pending[:covered]

    async def _confirm(self, run: PartitionRun, writes: list[tuple[bytes, bytes]]) -> None:
        self._may_write(run)
        futures = [self._table.send_changelog(run.partition, key, value) for key, value in writes]
        # A send error inside Faust's buffer leaves its future unresolved for ever.
        done, waiting = await asyncio.wait(futures, timeout=_CONFIRM_SHARE * self.settings.session_s)
        if waiting:
            raise TimeoutError
        for future in done:
            future.result()
        self._may_write(run)
        # Only what Kafka confirmed: what is read back here must be what a successor would read.
        for key, value in writes:
            self._table.data[key] = value

    async def _before_stop(self) -> None:
        """Leave a fresh checkpoint behind, if Kafka and the store answer at once."""
        for run in list(self._runs.values()):
            if run.leap is not None:
                log.warning(
                    "partition %d: stopped amid a leap, which is begun anew: %s", run.partition, run.leap
                )
            elif run.pending:
                try:
                    async with asyncio.timeout(self.settings.stop_s / 4), self._saving:
                        await self._checkpoint(run)
                except (TimeoutError, _AbandonedError):
                    log.warning("partition %d: stopped before its checkpoint was safe", run.partition)

    async def _watch(self) -> None:
        """Show life, and leave when there is work and nothing moves."""
        path = self.settings.health_file
        if path and self._lease.valid and not self.degraded:
            path.touch()
        outside_s = min(self._lease.age(), self._lease.now() - self._started)
        if outside_s > self.settings.stall_s:
            # The library may have given up joining, and says so in its log only.
            self._leave(f"no heartbeat answered for {outside_s:.0f} s")
        restored = frozenset(cast(Any, self.app.tables).recovery.active_offsets.items())
        # A restore that hangs, as stock Faust's now and then does in a rebalance, says nothing but a warning.
        idle = self._writing or not (self.app.in_recovery or self.app.rebalancing or self._lagging())
        stalled_s = self._stall.see((self._moves, restored, self.app.consumer_generation_id), idle=idle)
        if stalled_s > self.settings.stall_s:
            doing = "restoring checkpoints" if self.app.in_recovery else "records wait"
            self._leave(f"nothing moved for {stalled_s:.0f} s ({doing})")

    def _lagging(self) -> bool:
        return any(self._lags().values())

    def _lags(self) -> dict[int, int]:
        """Records that Kafka has and this worker has not taken in, by partition."""
        consumer = self.app.consumer
        lags: dict[int, int] = {}
        for tp in list(consumer.assignment()):
            if tp.topic != self.settings.topic:
                continue
            end = consumer.highwater(tp)
            run = self._runs.get(tp.partition)
            # Without a record since it was taken over there is no run; under its checkpoint nothing waits.
            done = run.offset + 1 if run else self._read_from.get(tp.partition, 0)
            lags[tp.partition] = max(0, (end or 0) - done)
        return lags

    def standing(self) -> WorkerStanding:
        """How far it is; any thread may ask."""
        lags = self._lags() if self.app.started else {}
        return standing_of(
            list(self._runs.values()),
            assigned=len(lags),
            stepped=self.stepped,
            unstepped=sum(lags.values()),
            now_s=self._lease.now(),
            degraded=self.degraded,
        )


def _turn(
    answering: Answering | None, answer: Answer, request: RestateRequest
) -> tuple[Answering, list[bytes]]:
    """The answer to `request`, begun or to be begun, and its next turn."""
    if answering is None or answering.request != request.name:
        answering = Answering(request.name, answer(request))
    return answering, answering.turn()


def run_worker(
    settings: WorkerSettings,
    pipelines: Pipelines,
    sink: Sink,
    *,
    unavailable: tuple[type[Exception], ...] = (),
    loglevel: str = "WARNING",
    watch: Callable[[FrameWorker], None] = lambda _worker: None,
) -> int:
    """Run a worker, which `watch` is given first, until it is told to stop; gives its exit status."""
    logging.config.dictConfig(log_config(loglevel))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = FrameWorker(settings, pipelines, sink, unavailable=unavailable)
    watch(worker)
    # Not by Faust's command line, which turns the web server on again, on every interface.
    program = faust.Worker(
        worker.app,
        loop=loop,
        quiet=True,
        override_logging=False,
        redirect_stdouts=False,
    )
    program.spinner = None
    try:
        program.execute_from_commandline()
    except SystemExit as done:
        # What ends the library while it starts is told by it, and turned into a status of its own.
        if not isinstance(done.__context__, KafkaError):
            return int(done.code or 0)
        error: BaseException = done.__context__
    except KafkaError as told:
        # As when a process was stopped while it restored: what it had asked for is past its time by then.
        error = told
    else:
        return 0
    log.critical(
        "Kafka did not answer in time: %s; leaving (a new process goes on from the last checkpoint)", error
    )
    return EXIT_RESTART
