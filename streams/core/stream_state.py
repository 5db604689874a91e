"""Everything that one stream's pipeline knows between two records, and how a checkpoint keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.site import Site
from models.site_files import parse_site
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.core.containing import Failures
from streams.core.entity_engine import EntityEngine
from streams.core.entity_operator import EntityOperator, MarkOperator
from streams.core.ledger_book import LedgerBook
from streams.core.operator import Learner, NetworkOperator, WindowOperator
from streams.core.restating import Restatements
from streams.core.row_engine import RowEngine
from streams.core.rows import Rows, concat
from streams.core.site_history import PastRegistry, SiteHistory, followed_by
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.core.windows import WindowEngine, first_open_ms

__all__ = ["StreamState"]

_VERSION = 3
# 1 had no restatements and no backlogs; 2 had the record of each sample, which nobody asked for.
_READABLE = (1, 2, 3)
_NO_SITE = Site(id="", name="", timezone="UTC")


class StreamState:
    """State of one stream.

    Parameters
    ----------
    stream : str
    operators : sequence of WindowOperator
    networks : sequence of NetworkOperator
    learners : sequence of Learner
    entities : sequence of EntityOperator
    marks : sequence of MarkOperator
    provisional : bool
        Whether windows give rows while they fill.

    Attributes
    ----------
    offset : int
        Of the last record stepped, -1 at the start.
    now_ms : int or None
        The stream's now: the largest record timestamp so far. [ms UTC]
    moving_to_ms : int
        What now will be after the record that is being stepped. [ms UTC]
    registry : Site
        The site's newest version.
    site : StreamSite
        The registry by device index; of those before it knows for windows that go by them.
    buffers : dict of str to ClassBuffer
        Open samples by device class.
    book : LedgerBook
    failures : Failures
        What operators could not compute; of this process, and in no checkpoint.
    restatements : Restatements
        What changed in windows that are no longer open.
    engine : WindowEngine
    rows : RowEngine
    entities : EntityEngine
    newest_event_ms : int or None
        Time of the newest event. [ms UTC]
    entities_ms : int or None
        When entities were computed last. [ms UTC]
    refreshed_ms : int or None
        When provisional rows were given last. [ms UTC]
    """

    def __init__(
        self,
        stream: str,
        operators: Sequence[WindowOperator],
        networks: Sequence[NetworkOperator] = (),
        learners: Sequence[Learner] = (),
        entities: Sequence[EntityOperator] = (),
        marks: Sequence[MarkOperator] = (),
        *,
        provisional: bool,
    ):
        self.stream = stream
        self.offset = -1
        self.now_ms: int | None = None
        self.moving_to_ms = 0
        self.registry: Site = _NO_SITE
        self.site = StreamSite(_NO_SITE, (), {})
        self._past: tuple[PastRegistry, ...] = ()
        self.buffers: dict[str, ClassBuffer] = {}
        self.book = LedgerBook()
        self.restatements = Restatements()
        others = {o.name for o in operators} | {o.name for o in networks} | {x.measurement for x in learners}
        self.failures = Failures()
        self.entities = EntityEngine(stream, entities, marks, others, self.failures)
        self.newest_event_ms: int | None = None
        self.entities_ms: int | None = None
        also_read = self.entities.marking.reads
        self.engine = WindowEngine(
            operators, provisional=provisional, failures=self.failures, also_read=also_read
        )
        self.rows = RowEngine(
            stream, operators, networks, learners, provisional=provisional, failures=self.failures
        )
        self._fields = {o.name: len(o.fields) for o in operators} | {o.name: len(o.fields) for o in networks}
        self.refreshed_ms: int | None = None
        self._index: dict[str, int] = {}
        self._born_interval_s: dict[str, float] = {}
        self._reborn = False
        self._segments: dict[str, tuple[int, bytes]] = {}
        self._next_segment = 0
        self._forgotten_ms: int | None = None

    # -- devices ------------------------------------------------------------------

    @property
    def known(self) -> int:
        """How many devices have been met."""
        return len(self._index)

    def intern(self, device: str) -> int:
        """Index of `device`, given at first sight; call `settle_site` after the last new one."""
        return self._index.setdefault(device, len(self._index))

    def devices(self, column: pa.Array) -> NDArray[np.int64]:
        """Device index of each row of a column of device ids."""
        encoded = column if isinstance(column, pa.DictionaryArray) else pc.dictionary_encode(column)
        names = encoded.dictionary.to_pylist()
        found = list(map(self._index.get, names))  # nearly always all are known
        if None in found:
            found = list(map(self.intern, names))
        self.settle_site()
        lookup = np.array(found, dtype=np.int64)
        return np.asarray(lookup[encoded.indices.to_numpy(zero_copy_only=False)])

    def born(self, device: str, interval_s: float) -> None:
        """Note the interval that a device announced at birth; call `settle_site` after the last. [s]"""
        if self._born_interval_s.get(device) != interval_s:
            self._born_interval_s[device] = interval_s
            self._reborn = True

    def register(self, texts: Mapping[str, str]) -> NDArray[np.bool_]:
        """Take a version of the registry; which of the devices met leave with it, by the index of before."""
        before, was, self.registry = self.site, self.registry, parse_site(texts)[0]
        if was is not _NO_SITE and self.now_ms is not None:
            self._past = followed_by(self._past, was, self.registry, self.stream, self.now_ms)
        self._rebuild_site()
        self.entities.register(self.registry)
        if self.engine.begin_ms is not None:  # places may be others
            from_ms = max(self.kept_from_ms(), self.engine.begin_ms // BUCKET_MS * BUCKET_MS)
            self.entities.marking.touch(np.arange(self.known), from_ms)
        known = len(before.ids)
        stays = self.site.owned[:known] & (self.site.classes[:known] == before.classes)
        return np.asarray(before.owned & ~stays, dtype=bool)

    def settle_site(self) -> None:
        """Bring `site` up to the devices met and born, once for many."""
        if self._reborn or len(self._index) != len(self.site.ids):
            self._rebuild_site()

    def _rebuild_site(self) -> None:
        before = None if self._reborn or self.site.site is not self.registry else self.site
        self._reborn = False
        ids = tuple(self._index)
        self.site = StreamSite(self.registry, ids, self._born_interval_s, self.stream, before)
        if before is not None:
            self.site.history = before.history
        elif self._past:
            self.site.history = SiteHistory(self._past, self._born_interval_s, self.stream)
        self.engine.keep_ms = self.rows.keep_ms(self.site)

    # -- open samples -----------------------------------------------------------------

    def buffer(self, device_class: str) -> ClassBuffer:
        """Open samples of a class, begun at first sight."""
        return self.buffers.setdefault(device_class, ClassBuffer(device_class))

    @property
    def index(self) -> Mapping[str, int]:
        """Index of each device met."""
        return self._index

    def kept_from_ms(self) -> int:
        """Samples from this time on are at hand. [ms UTC]"""
        return self.engine.kept_from_ms(self.engine.closed_at_ms, self.site)

    def counted_from_ms(self, device_class: str) -> int:
        """From when on the ledger counts repeated samples of a class. [ms UTC]

        Only the record's own time and the registry decide, not what happens to be at hand still: so the
        count is the same in whatever frames the messages come.
        """
        return first_open_ms(self.moving_to_ms, self.site.registered_lateness_ms(device_class), BUCKET_MS)

    def ledger_lateness_ms(self) -> int:
        """How long after its end a local day of the ledger stays open. [ms]"""
        return self.site.longest_of_all_ms

    def forget_segments(self) -> None:
        """Drop what a checkpoint need not keep: segments of which no sample is at hand any more."""
        kept_from = self.kept_from_ms()
        if kept_from == self._forgotten_ms:
            return
        self._forgotten_ms = kept_from
        for name in [n for n, (newest, _) in self._segments.items() if newest < kept_from]:
            del self._segments[name]
        for buffer in self.buffers.values():
            buffer.unsaved = [rows for rows in buffer.unsaved if int(rows.t.max()) >= kept_from]

    # -- checkpoints ----------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state after the last record."""
        for name, buffer in self.buffers.items():
            if buffer.unsaved:
                rows = concat(buffer.unsaved, len(buffer.columns))
                buffer.unsaved = []
                data = rows.to_bytes()
                # A stream that is computed anew cuts its segments elsewhere: none may pass for another.
                digest = hashlib.sha256(data).hexdigest()[:16]
                self._segments[f"{name}/{self._next_segment}-{digest}"] = (int(rows.t.max()), data)
                self._next_segment += 1
        engine = self.engine
        meta = {
            "version": _VERSION,
            "offset": self.offset,
            "now_ms": self.now_ms,
            "devices": list(self._index),
            "born_interval_s": self._born_interval_s,
            "refreshed_ms": self.refreshed_ms,
            "newest_event_ms": self.newest_event_ms,
            "entities_ms": self.entities_ms,
            "next_segment": self._next_segment,
            "begin_ms": engine.begin_ms,
            "closed_at_ms": engine.closed_at_ms,
            "dirty_from_ms": engine.dirty_from_ms,
            "floor_ms": engine.floor_ms,
            "forgotten_ms": engine.forgotten_ms,
            "latenesses_ms": engine.latenesses_ms,
            "waiting_from_ms": {str(d): ms for d, ms in engine.waiting_from_ms.items()},
            "segments": list(self._segments),
            "classes": list(self.buffers),
            "past": [[p.until_ms, p.name] for p in self._past],
            "fell": {name: fell for name, b in self.buffers.items() if (fell := b.restless.fell)},
        }
        parts = {
            "meta": json.dumps(meta).encode(),
            "registry": json.dumps(dict(self.registry.texts)).encode(),
            "ledger": self.book.to_bytes(),
            "restatements": self.restatements.to_bytes(),
            "rows": self.rows.to_bytes(),
        }
        parts.update({f"carry/{name}": b.carry.to_bytes() for name, b in self.buffers.items()})
        parts.update({f"window/{n}/{start}": state.to_bytes() for (n, start), state in engine.states.items()})
        parts.update({f"row/{n}/{start}": state.to_bytes() for (n, start), state in self.rows.states.items()})
        parts.update({f"late/{name}": data for name, data in self.rows.late.parts().items()})
        parts.update({f"learnt/{name}": data for name, data in self.rows.learnt_parts().items()})
        parts.update({f"segment/{name}": data for name, (_, data) in self._segments.items()})
        parts.update({f"segment/registry/{p.name}": p.compressed for p in self._past})
        parts.update(self.entities.parts())
        return Checkpoint(self.stream, self.offset, parts)

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over the state of `checkpoint`; CheckpointError if a part is missing or of another version."""
        try:
            self._load(checkpoint.parts)
        except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise CheckpointError(
                f"checkpoint of stream {checkpoint.stream!r} at offset {checkpoint.offset}: "
                f"expected parts of version {_VERSION}, got {error}"
            ) from error

    def _load(self, parts: Mapping[str, bytes]) -> None:
        meta = json.loads(parts["meta"])
        if meta["version"] not in _READABLE:
            raise ValueError(f"version {meta['version']}")
        self.offset, self.now_ms = meta["offset"], meta["now_ms"]
        self.refreshed_ms = meta["refreshed_ms"]
        self.newest_event_ms = meta.get("newest_event_ms")
        self.entities_ms = meta.get("entities_ms")
        self._index = {device: at for at, device in enumerate(meta["devices"])}
        self._born_interval_s = meta["born_interval_s"]
        self._next_segment = meta["next_segment"]
        engine = self.engine
        engine.begin_ms, engine.closed_at_ms = meta["begin_ms"], meta["closed_at_ms"]
        engine.dirty_from_ms = meta["dirty_from_ms"]
        engine.forgotten_ms = meta.get("forgotten_ms", meta["floor_ms"])
        engine.floor_ms, engine.latenesses_ms = meta["floor_ms"], meta["latenesses_ms"]
        engine.waiting_from_ms = {int(d): ms for d, ms in meta.get("waiting_from_ms", {}).items()}
        texts = json.loads(parts["registry"])
        if texts:
            self.registry = parse_site(texts)[0]
        # Of before registries were kept the one that is there holds from the beginning of time.
        past = meta.get("past", [])
        self._past = tuple(PastRegistry(ms, parts[f"segment/registry/{name}"]) for ms, name in past)
        self._rebuild_site()
        self.book = LedgerBook.from_bytes(parts["ledger"])
        if meta.get("day_ms") is not None:  # of before the ledger kept days
            self.book.days.zones.change(self.registry.timezone, 0)
            self.book.days.kept = [(meta["day_ms"], meta["day_end_ms"])]
        if meta["version"] > 1:
            self.restatements = Restatements.from_bytes(parts["restatements"])
            self.rows.load(parts["rows"])
        for name in parts:
            if name.startswith(("window/", "row/")):
                kind, operator, start = name.split("/")
                states = engine.states if kind == "window" else self.rows.states
                states[operator, int(start)] = WindowState.from_bytes(
                    parts[name], self._fields.get(operator, 0)
                )
            elif name.startswith("learnt/"):
                self.rows.load_learnt(name.removeprefix("learnt/"), parts[name])
            elif name.startswith("late/"):
                self.rows.late.load(name.removeprefix("late/"), parts[name])
        self._load_samples(meta, parts)
        self.entities.load(parts, self.registry, self.known)

    def _load_samples(self, meta: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
        for name in meta["classes"]:
            buffer = self.buffers[name] = ClassBuffer(name)
            buffer.carry_on(Rows.from_bytes(parts[f"carry/{name}"]), self.known)
        kept_from = self.kept_from_ms()
        for segment in meta["segments"]:
            data = parts[f"segment/{segment}"]
            rows = Rows.from_bytes(data)
            self._segments[segment] = (int(rows.t.max()), data)
            buffer = self.buffers[segment.split("/")[0]]
            kept = rows.t >= kept_from
            buffer.add(rows if kept.all() else rows.take(kept), self.known)
            buffer.unsaved = []
        if "fell" in meta:  # of before it was kept the samples at hand tell it, but for some
            for name, buffer in self.buffers.items():
                buffer.restless.recall(meta["fell"].get(name, ()), self.known)
