"""A fleet's history through decoder and pipelines, as a server runs them, with all that its ledgers say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from models.frame import LETTER_ALLOWED, Frame, FrameKind, Record
from models.site_files import parse_site
from streams.core.operator import window_operator
from streams.core.pipeline import Pipeline
from streams.core.samples import Samples
from streams.core.stream_site import StreamSite
from streams.operators.ledger import ledger
from tests.support.fleet import INTERVAL_S, Birth, Fleet, Moment, Report, Sent

__all__ = ["FleetStreams", "Row"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Nothing:
    """Rows that say nothing."""

    nothing: NDArray[np.float64]
    coverage: NDArray[np.float64]
    reason: NDArray[np.object_]


@window_operator(reads=("meter", "substation"), every_s=86_400, writes=Nothing)
def kept(samples: Samples, site: StreamSite) -> Nothing:
    """Have samples kept while windows are open, as operators do; long ones, which cost least."""
    n = len(samples.devices)
    return Nothing(np.zeros(n), np.ones(n), np.full(n, "", object))


class FleetStreams:
    """Pipelines of every stream of a site.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        Cuts what comes at one time into batches; without it all is one batch.
    restore : float
        How often a stream goes on from a checkpoint, by record.
    together : bool
        Whether all devices are in one stream, whatever the registry says.
    torn : numpy.random.Generator, optional
        Lets ingest die while it tells streams of a registry: some hear of it, and what they tell others goes
        round until all do.
    """

    def __init__(
        self,
        rng: np.random.Generator | None = None,
        *,
        restore: float = 0.0,
        together: bool = False,
        torn: np.random.Generator | None = None,
    ) -> None:
        self.pipelines: dict[str, Pipeline] = {}
        self.rows: dict[tuple[str, int], Row] = {}
        self.told: list[Row] = []
        self.restated: list[Row] = []
        self._rng, self._restore, self._together, self._torn = rng, restore, together, torn
        self._offsets: Counter[str] = Counter()
        self.forwards: list[tuple[str, bytes]] = []  # what streams tell each other, on its way
        self._chance = np.random.default_rng(7)

    def take(self, moment: Moment) -> None:
        """Let a moment happen."""
        at_ms = moment.at_ms
        if moment.fleet is not None:
            self._register(moment.fleet, at_ms)
        if moment.words:
            while self.forwards:
                self.hand_over(at_ms)
        for a in moment.allowed:
            stream = self._stream_of(a.device)
            if stream:
                about = {"boot": a.boot, "seq": a.seq, "oldest_t": a.oldest_t}
                row = {"device": a.device, "kind": LETTER_ALLOWED, "payload": json.dumps(about)}
                self._step(stream, Frame.events([row], FrameKind.ACTION).encode(), at_ms)
        for batch in self._batches(moment):
            self._decode(batch, at_ms)
        for stream, pipeline in list(self.pipelines.items()):
            if pipeline.now_ms != at_ms:
                self._step(stream, Frame.heartbeat().encode(), at_ms)

    def _decode(self, batch: list[Message], at_ms: int) -> None:
        for placed in self._decoder.decode(batch, mode=ClockMode.WALL, wall_ms=at_ms, now_ms={}).placed:
            if placed.stream in self.pipelines:
                self._step(placed.stream, placed.frame.encode(), placed.timestamp_ms)

    def hand_over(self, at_ms: int) -> None:
        """Have the first word that is under way arrive."""
        stream, frame = self.forwards.pop(0)
        self._step(stream, frame, at_ms)

    def say(self, at_ms: int) -> None:
        """Have every stream say all that is to be said: a heartbeat comes and now stands still."""
        for stream in list(self.pipelines):
            self._step(stream, Frame.heartbeat().encode(), at_ms)

    def finish(self) -> None:
        """Have every stream say what is left when nothing comes any more."""
        for pipeline in self.pipelines.values():
            self._keep(pipeline.finish())

    def _register(self, fleet: Fleet, at_ms: int) -> None:
        devices = [
            f"{d},{fleet.class_of[d]},u1,{'s-0' if self._together else f's-{s}'},{INTERVAL_S[fleet.class_of[d]] or ''}\n"
            for d, s in fleet.stream_of.items()
        ]
        texts = {
            "site.toml": f'[site]\nid = "s"\nname = "test"\ntimezone = "{fleet.timezone}"\n'
            '[[region]]\nid = "r1"\nname = "north"\n[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n',
            "devices.csv": "device,class,unit,stream,interval_s\n" + "".join(devices),
        }
        self._site = parse_site(texts)[0]
        self._decoder = Decoder(self._site)
        row = {"device": "", "kind": "registry", "payload": json.dumps(texts)}
        frame = Frame.events([row], FrameKind.REGISTRY).encode()
        streams = sorted({*self.pipelines, *(d.stream for d in self._site.devices.values())})
        if self._torn is not None and len(streams) > 1:
            before, self.forwards = self.forwards, []
            for n in self._torn.permutation(len(streams))[1:]:
                self._step(streams[n], frame, at_ms)
                for _ in range(min(len(self.forwards), int(self._torn.integers(0, 4)))):
                    self.hand_over(at_ms)
            self.forwards = before + self.forwards
        for stream in streams:
            self._step(stream, frame, at_ms)

    def _stream_of(self, device: str) -> str:
        known = self._site.devices.get(device)
        return known.stream if known else ""

    def _batches(self, moment: Moment) -> Sequence[list[Message]]:
        """What comes, as it may be cut into batches: events among each other and a device's messages in order."""
        messages = [_message(m) for m in moment.messages]
        told = [_event(e) for e in moment.told]
        if self._rng is None:
            return [messages + told] if messages or told else []
        batches: list[list[Message]] = []
        while messages or told:
            taken = [
                [part.pop(0) for _ in range(min(len(part), int(self._rng.integers(0, 6))))]
                for part in (messages, told)
            ]
            batches.append([*taken[0], *taken[1]])
        return [batch for batch in batches if batch]

    def _step(self, stream: str, frame: bytes, at_ms: int) -> None:
        pipeline = self.pipelines.get(stream)
        if pipeline is None:
            pipeline = self.pipelines[stream] = Pipeline(stream, [ledger, kept])
        outputs = pipeline.step(Record(stream, self._offsets[stream], at_ms, frame))
        self._offsets[stream] += 1
        self.forwards += outputs.forwards
        self._keep(outputs)
        if self._restore and self._chance.random() < self._restore:
            self.pipelines[stream] = Pipeline.restore(pipeline.checkpoint(), [ledger, kept])

    def _keep(self, outputs: Any) -> None:
        for table in outputs.rows.get("ledger", ()):
            for row in table.to_pylist():
                self.told.append(row)
                self.rows[row["key"], row["window_start"]] = row
        for table in outputs.rows.get("restatement", ()):
            self.restated += [r for r in table.to_pylist() if r["measurement"] == "ledger"]


def _message(m: Sent) -> Message:
    samples: list[dict[str, object]] = []
    for t, ticket in m.samples:
        value = {"mass_kg": 1.0} if m.of_class == "weighbridge" else {"supply_c": 80.0}
        if m.flaw == "wrong_class":
            value = {"speed_m_s": 1.0}
        named = {"ticket": ticket, "step": "gross"} if ticket and not m.flaw else {}
        samples.append({"t": t if m.flaw != "schema" else "soon", **value, **named})
    payload = {"boot": m.boot, "seq": m.seq, "samples": samples}
    return Message(f"hearthline/v1/r1/u1/{m.device}/telemetry", json.dumps(payload).encode())


def _event(e: Report | Birth) -> Message:
    if isinstance(e, Birth):
        payload = {"boot": e.boot, "at": e.at, "class": "substation", "interval_s": 60}
        kind = "birth"
    else:
        payload = {
            "boot": e.boot, "at": e.at, "next_seq": e.next_seq, "waiting": e.waiting, "thinned": e.thinned,
        }  # fmt: skip
        kind = "state"
    return Message(f"hearthline/v1/r1/u1/{e.device}/{kind}", json.dumps(payload).encode())
