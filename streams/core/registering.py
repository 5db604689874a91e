"""Who is in a stream: registries, devices that come, leave and move, and what is said of all these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.frame import (
    DELIVERIES,
    LETTER_ALLOWED,
    LETTER_RETRIED,
    ROW_OF_ANOTHER_STREAM,
    Frame,
    FrameKind,
    Record,
)
from models.results import Outputs
from models.site import Site
from models.wire import BIRTH, STATE, Birth, State
from streams.core.arriving import Arriving, poison
from streams.core.ledger_book import NOTHING_GIVEN
from streams.core.stream_state import StreamState
from streams.core.tables import dead_letter_rows
from streams.core.telling import Telling

__all__ = ["Registering"]


class Registering:
    """Takes registries, events and actions into the state of one stream.

    Parameters
    ----------
    stream : str
    state : StreamState
    arriving : Arriving
    telling : Telling
    """

    def __init__(self, stream: str, state: StreamState, arriving: Arriving, telling: Telling):
        self.stream = stream
        self._state = state
        self._arriving = arriving
        self._telling = telling

    def register(self, texts: dict[str, str], record: Record, outputs: Outputs) -> None:
        """Take a version of the registry; devices that leave have their last rows by the one before."""
        before, registered = self._state.site, self._state.registry
        owned = before.owned.copy()
        heard_ms = self._state.now_ms or 0  # of the record before
        leaving = self._state.register(texts)
        if leaving.any():
            now_ms = self._state.moving_to_ms
            last = self._state.engine.settle(now_ms, leaving, before, self._state.buffers)
            self._telling.windows(outputs, last, before)
            self._telling.ledger(outputs, self._state.book.days.restated(), before)
            before.owned &= leaving & ~self._state.site.owned[: len(leaving)]
            self._telling.ledger(
                outputs, self._state.book.days.last(self._state.book.deliveries, heard_ms), before
            )
            for gone in np.flatnonzero(leaving & ~self._state.site.owned[: len(leaving)]).tolist():
                self._state.engine.wait_for(gone, None)  # nobody else would ever take its word back
                if self._state.site.ids[gone] not in self._state.registry.devices:
                    self._state.restatements.set_aside(gone, self._state.site.ids[gone])
        for back in np.flatnonzero(self._state.site.owned[: len(leaving)] & ~owned).tolist():
            self._state.book.returns(back)
        self._state.restatements.bring_back(self._state.site.owned)
        self._part_with(registered, record, outputs, heard_ms)
        for name, device in self._state.registry.devices.items():
            then = registered.devices.get(name)
            if then is not None and then.stream != self.stream and device.stream == self.stream:
                self._state.book.awaited.add(self._state.intern(name))
        self._state.settle_site()

    def _part_with(self, registered: Site, record: Record, outputs: Outputs, heard_ms: int) -> None:
        """Give what is known of the messages of devices that moved to the streams that they moved to."""
        for name, device in self._state.registry.devices.items():
            if device.stream == self.stream:
                continue
            then = registered.devices.get(name)
            index = self._state.index.get(name, -1)
            mine = then is not None and then.stream == self.stream
            given = self._state.book.give_away(index, heard_ms if mine else 0)
            if given is not None or mine:
                about = {"given": given or NOTHING_GIVEN, "stream": self.stream, "offset": record.offset}
                about["waits"] = self._state.restatements.give_away(index, name)
                row = {"device": name, "kind": DELIVERIES, "payload": json.dumps(about)}
                outputs.forwards.append((device.stream, Frame.events([row], FrameKind.ACTION).encode()))

    def events(self, frame: Frame) -> None:
        """Take in what devices say of themselves: births and states."""
        now_ms = self._state.moving_to_ms  # that of this record: the one before may be of last night
        for row in frame.batch.to_pylist():
            device = row["device"]
            if row["kind"] == STATE:
                state = State.model_validate_json(row["payload"])
                self._state.book.report(self._state.intern(device), state, now_ms)
                self._state.engine.wait_for(self._state.intern(device), state.waiting_from)
            elif row["kind"] == BIRTH:
                birth = Birth.model_validate_json(row["payload"])
                self._state.book.born(self._state.intern(device), birth, now_ms)
                self._state.born(device, birth.interval_s)
        self._state.settle_site()

    def actions(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        """Take in what a person, or another stream, did."""
        book = self._state.book
        moved, refused = list[int](), list[dict[str, Any]]()
        for row in frame.batch.to_pylist():
            about = {} if row["kind"] == ROW_OF_ANOTHER_STREAM else json.loads(row["payload"])
            if row["kind"] == LETTER_RETRIED:
                outputs.add("dead_letter", dead_letter_rows(self.stream, [about]))
            elif row["kind"] == LETTER_ALLOWED:
                deliveries = book.of(self._state.intern(row["device"]))
                deliveries.allow(about["boot"], about["seq"], about["oldest_t"])
            elif row["kind"] == ROW_OF_ANOTHER_STREAM:
                try:
                    self._state.entities.take_forwarded(row["payload"])
                except ValueError as error:  # that row alone; its stream says it again where it changes
                    refused.append(poison(record, error) | {"payload": row["payload"].encode()})
            elif row["kind"] == DELIVERIES and self._belongs_elsewhere(row["device"]):
                # It moved on before this word came: the word follows it, with the name it has.
                stream = self._state.registry.devices[row["device"]].stream
                outputs.forwards.append((stream, Frame.events([row], FrameKind.ACTION).encode()))
            elif row["kind"] == DELIVERIES:
                device = self._state.intern(row["device"])
                if book.take_over(device, about["given"], about["stream"], about["offset"]):
                    moved.append(device)
                    self._state.restatements.take_over(device, about.get("waits", ()))
        self._state.settle_site()
        self._arriving.refused(outputs, record, refused)
        self._complete(moved)

    def _belongs_elsewhere(self, device: str) -> bool:
        known = self._state.registry.devices.get(device)
        return known is not None and known.stream != self.stream

    def _complete(self, moved: Sequence[int]) -> None:
        """Have the windows of devices that came from another stream restated that are open by now.

        Their samples of before are in that stream and, with these here, in the store.
        """
        state = self._state
        begin_ms = state.moving_to_ms if state.engine.begin_ms is None else state.engine.begin_ms
        for device in moved:
            name = str(state.site.classes[device])
            if name:
                state.buffer(name)  # what is asked for is of a class that was met
                state.restatements.gap(device, max(state.kept_from_ms(), begin_ms), state.moving_to_ms + 1)
