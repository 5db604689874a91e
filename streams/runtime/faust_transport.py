"""Faust's consumer, taught where to begin, which is at the checkpoint, and to drop nothing on the way.

Stock Faust resumes the partitions on recovery, seeks, and then clears its
queues; a record fetched in between is gone. And it begins at the committed
offset, which lags behind the checkpoint or precedes the table's restore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.runtime.faust_lease import Lease

__all__ = ["CheckpointConsumer", "CheckpointTransport", "give_back"]


class _Owner(Protocol):
    """What the consumer needs of its application."""

    lease: Lease

    def starts(self, log_starts: Mapping[TP, int]) -> dict[TP, int]:
        """Where to read on in each partition."""
        ...


class _LeasedThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread: answered heartbeats renew the lease, and no fetch outlives its generation."""

    async def on_start(self) -> None:
        await super().on_start()
        lease = cast(_Owner, self.app).lease
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 -- no public hook on heartbeats
        beat: Callable[[], Any] = coordinator._do_heartbeat  # noqa: SLF001

        async def leased() -> bool:
            sent = lease.now()
            answered = bool(await beat())
            if answered:
                lease.renew(sent)
            return answered

        coordinator._do_heartbeat = leased  # noqa: SLF001

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:  # noqa: ASYNC109
        """Fetch from the partitions that are active now.

        Faust hands over its own set, which a rebalance empties under the fetch;
        and to the client an empty set means every partition.
        """
        asked = frozenset(active_partitions or ())
        if not asked:
            return {}
        return cast(RecordMap, await self.call_thread(self._fetch_within, asked, timeout))

    async def _fetch_within(self, asked: frozenset[TP], wait_s: float) -> RecordMap:
        consumer = self._ensure_consumer()
        generation = self.app.consumer_generation_id
        records = await self._fetch_records(
            consumer, cast(set[TP], asked), timeout=wait_s, max_records=consumer._max_poll_records  # noqa: SLF001
        )  # fmt: skip
        if not self.consumer.flow_active or self.app.consumer_generation_id != generation:
            # They would be dropped, and a restore that has sought its place waits for them for ever.
            give_back(consumer, records)
            return {}
        return records


def give_back(consumer: Any, records: Mapping[TP, Sequence[Any]]) -> None:
    """Let `records`, just taken from `consumer`, be fetched again, unless another place was sought since."""
    subscription = consumer._subscription.subscription  # noqa: SLF001 -- the public calls cannot do it in one step
    for tp, taken in records.items():
        state = subscription.assignment.state_value(tp) if subscription.assignment else None
        if taken and state and state.has_valid_position and state.position == taken[-1].offset + 1:
            consumer.seek(tp, taken[0].offset)


class CheckpointConsumer(driver.Consumer):
    """A consumer that reads on after the checkpoint of each partition."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._seeking = asyncio.Lock()

    def _new_consumer_thread(self) -> _LeasedThread:
        return _LeasedThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin a generation, and its lease."""
        # The broker has just answered the group's join; its first heartbeat follows within a second.
        lease = cast(_Owner, self.app).lease
        lease.renew(lease.now())
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Seek every source partition past its checkpoint.

        Faust calls this after the restore, and also while the flow is stopped,
        before it: that position is wrong and is corrected by the later call.
        """
        self.stop_flow()  # what is fetched until the flow resumes is dropped, and fetched again
        async with self._seeking:
            await super().perform_seek()
            sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
            if not sources:
                return
            starts = cast(_Owner, self.app).starts(await self._log_starts(sources))
            await self.seek_wait(starts)
            for tp, offset in starts.items():
                self._read_offset[tp] = offset
                # Without it commits wait for ever for records that were read by an earlier owner.
                self._committed_offset[tp] = offset

    async def _log_starts(self, tps: set[TP]) -> dict[TP, int]:
        found = await self.earliest_offsets(*tps)
        return {tp: found.get(tp) or 0 for tp in tps}


class CheckpointTransport(driver.Transport):
    """Faust's Kafka transport with `CheckpointConsumer`."""

    Consumer = CheckpointConsumer
