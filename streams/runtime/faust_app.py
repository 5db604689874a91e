"""The worker of the distributed mode: pipelines over Kafka's topic of frames, by Faust.

Faust gives the group, the partitions, the table's changelog and its restore.
The position is the checkpoint's, not the commit's: commits only show lag.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from faust.types import TP

from journal.kafka import BEGINNING_MS
from streams.core.checkpoint import CheckpointError
from streams.core.leap import SLICE_S
from streams.runtime.checkpoint_slots import CheckpointSlots, marker_keys
from streams.runtime.faust_partition import PartitionRun, Pipelines, Sink
from streams.runtime.faust_process import EXIT_REFUSED, EXIT_RESTART, WorkerApp, leave
from streams.runtime.faust_saving import CONFIRM_SHARE, AbandonedError, Saving
from streams.runtime.faust_settings import CHECKPOINT_TABLE, WorkerSettings
from streams.runtime.faust_standing import WorkerStanding, standing_of
from streams.runtime.faust_watch import StallWatch

__all__ = ["EXIT_RESTART", "FrameWorker"]

_TICK_S: Final = 0.25

log = logging.getLogger("hearthline.worker")


class FrameWorker(Saving):
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
        super().__init__(settings, pipelines, sink, unavailable, leave)
        self.stepped = 0
        self._log_starts: dict[int, int] = {}
        self._read_from: dict[int, int] = {}
        self._started = self._lease.now()
        self._stall = StallWatch(self._lease.now)
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
        done, waiting = await asyncio.wait(forgotten, timeout=CONFIRM_SHARE * self.settings.session_s)
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
                except (TimeoutError, AbandonedError):
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
