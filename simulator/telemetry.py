"""A simulated unit's messages as a server would receive them, and files of them."""

from __future__ import annotations

import gzip
import heapq
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from models import wire
from models.measurements import EVENT_CLASSES
from models.site import Site
from simulator.fleet import UnitReadings
from simulator.rng import generator
from simulator.unit import demo_plan

__all__ = ["MESSAGE_SCHEMA", "messages", "write"]

_STATE_EVERY_MS: Final = 60_000
_COLLECTOR: Final = "hearthline-simulator"
_ROWS: Final = 20_000
_DRAWN: Final = 4_096
MESSAGE_SCHEMA: Final = pa.schema([
    pa.field("topic", pa.string(), nullable=False),
    pa.field("payload", pa.string(), nullable=False),
    pa.field("received_ms", pa.int64(), nullable=False),
])  # fmt: skip
"""Columns of a Parquet file of messages; the payload is JSON text."""

Message = dict[str, Any]


def messages(
    seed: int,
    start_ms: int,
    hours: float,
    *,
    substations: int = 30,
    trucks: int = 5,
    interval_s: float = 10.0,
    site: Site | None = None,
    readings: UnitReadings | None = None,
    duplicate_share: float = 0.0,
    late_share: float = 0.0,
    late_s: float = 300.0,
) -> Iterator[Message]:
    """Messages of a simulated unit: ``{"topic", "payload", "received_ms"}`` in the order of receipt.

    Births and states are among them, so that a ledger can be kept; after the
    last sample comes a last state of each device, with nothing waiting.

    Parameters
    ----------
    seed, start_ms, hours
        Which run, its start (ms UTC) and length.
    readings : UnitReadings, optional
        Where readings come from, in place of a unit of `substations` and `trucks`.
    duplicate_share : float
        Share of messages that are received twice.
    late_share, late_s : float
        Share of messages held back, and for how long at most. [s]
    """
    if readings is None:
        site = site or demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s)
        readings = UnitReadings(site, seed, start_ms, interval_s=interval_s)
    site, interval_s, faults = readings.site, readings.interval_s, readings.faults
    sender = _Sender(site, start_ms)
    road = _Road(seed, duplicate_share, late_share, late_s)
    for name in site.devices:
        road.send(start_ms, sender.birth(name, start_ms), prompt=True)
        road.send(start_ms, sender.state(name, start_ms), prompt=True)
    end_ms = start_ms + round(hours * 3_600_000)
    stated = start_ms
    while readings.now_ms + interval_s * 1000 <= end_ms:
        before = readings.now_ms
        for name, reading in readings.step():
            # A weighing happens between two steps; the rest are read at the step, whatever their clock says.
            event = site.devices[name].device_class in EVENT_CLASSES
            taken_ms = reading.t_ms if event else readings.now_ms
            message = sender.telemetry(name, reading.t_ms, reading.values)
            road.send(faults.held_until(name, taken_ms), message)
            again_ms = faults.sent_again_ms(name, taken_ms)
            if again_ms is not None:
                road.send(faults.held_until(name, again_ms), message, prompt=True)
        if readings.now_ms - stated >= _STATE_EVERY_MS:
            stated = readings.now_ms
            for name in site.devices:
                if faults.held_until(name, stated) == stated:
                    road.send(stated, sender.state(name, stated), prompt=True)
        yield from road.arrived(before)
    yield from road.arrived(None)
    closing = max(readings.now_ms, road.last_ms)
    for name in site.devices:
        yield {**sender.state(name, closing), "received_ms": closing + 1_000}


class _Sender:
    """Numbers the messages of every device as its collector would."""

    def __init__(self, site: Site, boot_ms: int) -> None:
        self.site, self.boot = site, boot_ms
        self._next = dict.fromkeys(site.devices, 1)
        self._topics: dict[tuple[str, str], str] = {}

    def _message(self, name: str, kind: str, payload: dict[str, Any]) -> Message:
        topic = self._topics.get((name, kind))
        if topic is None:
            device = self.site.devices[name]
            topic = str(wire.Topic(self.site.region_of(device), device.unit, name, kind))
            self._topics[name, kind] = topic
        return {"topic": topic, "payload": payload}

    def birth(self, name: str, at_ms: int) -> Message:
        device = self.site.devices[name]
        payload = {
            "boot": self.boot, "at": at_ms, "class": device.device_class,
            "interval_s": device.interval_s or 60.0, "collector": _COLLECTOR,
        }  # fmt: skip
        return self._message(name, wire.BIRTH, payload)

    def state(self, name: str, at_ms: int) -> Message:
        payload = {"boot": self.boot, "at": at_ms, "next_seq": self._next[name], "waiting": [], "thinned": []}
        return self._message(name, wire.STATE, payload)

    def telemetry(self, name: str, t_ms: int, values: Any) -> Message:
        seq = self._next[name]
        self._next[name] = seq + 1
        return self._message(
            name, wire.TELEMETRY, {"boot": self.boot, "seq": seq, "samples": [{"t": t_ms, **values}]}
        )


class _Road:
    """Delays, doubles and orders messages."""

    def __init__(self, seed: int, duplicate_share: float, late_share: float, late_s: float) -> None:
        self._rng = generator(seed, "road")
        self._duplicate, self._late, self._late_s = duplicate_share, late_share, late_s
        self._heap: list[tuple[int, int, Message]] = []
        self._draws: Iterator[list[float]] = iter(())
        self._count = 0
        self.last_ms = 0

    def send(self, at_ms: int, message: Message, *, prompt: bool = False) -> None:
        if prompt:  # births before states, as a collector says them, and neither held back
            self._push(at_ms + 20, message)
            return
        draws = next(self._draws, None)
        if draws is None:  # many at a time: a message's own call costs more than its numbers
            self._draws = iter(self._rng.random((_DRAWN, 4)).tolist())
            draws = next(self._draws)
        delay = 0.05 + 0.4 * draws[0]
        if draws[1] < self._late:
            delay += self._late_s * draws[2]
        self._push(at_ms + int(1000 * delay), message)
        if draws[3] < self._duplicate:
            self._push(at_ms + int(1000 * (delay + 30.0)), message)

    def _push(self, received_ms: int, message: Message) -> None:
        self._count += 1
        self.last_ms = max(self.last_ms, received_ms)
        heapq.heappush(self._heap, (received_ms, self._count, message))

    def arrived(self, up_to_ms: int | None) -> Iterator[Message]:
        """Give what has been received by `up_to_ms`; all with None."""
        while self._heap and (up_to_ms is None or self._heap[0][0] <= up_to_ms):
            received_ms, _, message = heapq.heappop(self._heap)
            yield {"topic": message["topic"], "payload": message["payload"], "received_ms": received_ms}


def write(path: Path, rows: Iterable[Message]) -> int:
    """Write messages as .jsonl, .jsonl.gz, .jsonl.zst or .parquet, told by the name; gives their number.

    Raises
    ------
    ValueError
        The name ends otherwise.
    """
    if path.suffix == ".parquet":
        return _write_parquet(path, rows)
    count = 0
    with path.open("wb") as file, _packed(path.name, file) as out:
        for row in rows:
            out.write(orjson.dumps(row) + b"\n")
            count += 1
    return count


def _packed(name: str, file: IO[bytes]) -> AbstractContextManager[Any]:
    """What to write lines into, by the end of the name."""
    if name.endswith(".jsonl"):
        return nullcontext(file)
    if name.endswith(".jsonl.gz"):
        # Without a time of writing in its header: the same seed gives the same bytes.
        return gzip.GzipFile("", "wb", 6, file, mtime=0)
    if name.endswith(".jsonl.zst"):
        packed: AbstractContextManager[Any] = zstandard.ZstdCompressor(level=3).stream_writer(
            file, closefd=False
        )
        return packed
    raise ValueError(f"expected a name ending in .jsonl, .jsonl.gz, .jsonl.zst or .parquet, got {name!r}")


def _write_parquet(path: Path, rows: Iterable[Message]) -> int:
    count, rows = 0, iter(rows)
    with pq.ParquetWriter(path, MESSAGE_SCHEMA, compression="zstd") as writer:
        while batch := list(islice(rows, _ROWS)):
            columns = [
                [row["topic"] for row in batch],
                [orjson.dumps(row["payload"]).decode() for row in batch],
                [row["received_ms"] for row in batch],
            ]
            arrays = [
                pa.array(column, field.type) for column, field in zip(columns, MESSAGE_SCHEMA, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=MESSAGE_SCHEMA))
            count += len(batch)
    return count
