"""Play a world and write what is received of it, with other messages in between, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.site import Site
from simulator.logistics.boxes import Boxes
from simulator.logistics.closing import residual_kg
from simulator.logistics.plan import Plan
from simulator.logistics.truth_files import Truths
from simulator.logistics.wire import Wire
from simulator.logistics.world import World
from simulator.telemetry import MESSAGE_SCHEMA

__all__ = ["Recorded", "coal_devices", "record"]

_FIXES: Final = 300_000  # at most about so many in memory at once
_LONGEST_MS: Final = 6 * 3_600_000
_CLASSES: Final = frozenset({"truck", "weighbridge", "lab", "office", "yard"})

Message = dict[str, Any]


@dataclass(slots=True)
class Recorded:
    """What was written.

    Attributes
    ----------
    messages, fixes, tickets, trips : int
    residual_kg : int
        The most that an identity of a contract or a yard misses at the end; 0, or the books are wrong. [kg]
    """

    messages: int = 0
    fixes: int = 0
    tickets: int = 0
    trips: int = 0
    residual_kg: int = 0


def coal_devices(site: Site) -> list[str]:
    """Devices of coal on the road: all but those of heat; a plant's boiler where it has no network."""
    return [
        d.device
        for d in site.devices.values()
        if d.device_class in _CLASSES or (d.device_class == "plant" and not d.network)
    ]


def _chunk_ms(plan: Plan, trucks: int, others_a_s: float) -> int:
    """Length of time whose fixes and other messages fit in memory."""
    fits = _FIXES * 1000.0 / (trucks / plan.gps.interval_s + 10.0 * others_a_s + 1e-9)
    return int(min(max(fits, 60_000.0), _LONGEST_MS))


def record(
    world: World,
    folder: Path,
    end_ms: int,
    others: Iterator[Message],
    *,
    others_a_s: float = 0.0,
    duplicate_share: float = 0.0,
    late_share: float = 0.0,
    late_s: float = 300.0,
    progress: Callable[[float], None] = lambda _: None,
) -> Recorded:
    """Play `world` up to `end_ms` into ``telemetry.parquet`` and its truth files.

    Parameters
    ----------
    others : iterator of messages
        Further messages in the order of receipt; drawing one may advance the world up to it.
    others_a_s : float
        About how many of them there are in a second.
    """
    plan, done = world.plan, Recorded()
    devices = tuple(truck.vehicle.device for truck in world.trucks)
    boxes = Boxes(world.seed, plan.gps, world.tracks, devices, plan.wrongs)
    line = Wire(
        world.site, coal_devices(world.site), devices, world.seed, world.start_ms,
        fixes_a_message=plan.gps.fixes_a_message, duplicate_share=duplicate_share, late_share=late_share,
        late_s=late_s,
    )  # fmt: skip
    truths = Truths(folder, devices, end_ms)
    rest = _Others(others)
    now_ms = world.start_ms
    step_ms = _chunk_ms(plan, len(boxes.tracked), others_a_s)
    with pq.ParquetWriter(folder / "telemetry.parquet", MESSAGE_SCHEMA, compression="zstd") as writer:
        done.messages += _write(writer, line.births(), rest.up_to(now_ms + 20))
        while now_ms < end_ms:
            before, now_ms = now_ms, min(now_ms + step_ms, end_ms)
            heat = rest.up_to(now_ms)
            world.advance(now_ms)
            fixes = boxes.between(before, now_ms) if len(boxes.tracked) else None
            coal = line.received(world.post.due(now_ms), fixes, now_ms)
            done.messages += _write(writer, coal, heat)
            done.fixes += 0 if fixes is None else len(fixes.truck)
            truths.take(world, fixes, boxes.outages(before, now_ms))
            world.tracks.trim(now_ms / 1000.0 - 2.0 * plan.gps.interval_s)
            world.post.forget(now_ms)
            progress((now_ms - world.start_ms) / (end_ms - world.start_ms))
        # What was sent by the end still arrives; what a line held back comes when it is there again.
        coal, heat = line.received(world.post.rest(end_ms), None, None), rest.up_to(None)
        line.last_ms = max(line.last_ms, *(int(m["received_ms"]) for m in heat[-1:]), end_ms)
        done.messages += _write(writer, pa.concat_tables([coal, line.states()]), heat)
    truths.close(world)
    done.trips = sum((t.gross_origin_ms or 0) <= end_ms for t in world.trips)
    done.tickets = world.tickets
    done.residual_kg = residual_kg(world, end_ms)
    return done


class _Others:
    """Messages of others, taken as their time comes."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._messages, self._next = messages, next(messages, None)

    def up_to(self, t_ms: int | None) -> list[Message]:
        found = []
        while self._next is not None and (t_ms is None or self._next["received_ms"] <= t_ms):
            found.append(self._next)
            self._next = next(self._messages, None)
        return found


def _write(writer: pq.ParquetWriter, coal: pa.Table, others: list[Message]) -> int:
    """Write both in the order of receipt; gives how many."""
    rows = [
        {**m, "payload": json.dumps(m["payload"], ensure_ascii=False, separators=(",", ":"))} for m in others
    ]
    table = pa.concat_tables([coal, pa.Table.from_pylist(rows, MESSAGE_SCHEMA)]) if rows else coal
    if not len(table):
        return 0
    if rows:
        table = table.take(pa.array(np.argsort(table["received_ms"].to_numpy(), kind="stable")))
    writer.write_table(table)
    return len(table)
