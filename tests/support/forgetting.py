"""Every field of a checkpoint by name, and the checkpoint as if one of them had been forgotten.

A field is what one line of code writes and another reads: a value of a state, by its path, with ``*`` for what
is data (a device, a network, a day); a column of a table of samples or of rows; a value of an entity's item.
What is forgotten is as in a stream that knows nothing of it, in its old size where others count on that.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode, b64encode
from binascii import Error
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from models.site import Site
from models.site_files import parse_site
from streams.core.checkpoint import Checkpoint
from streams.core.operator import Learner

__all__ = ["Field", "fields_of", "forgetting", "learnt_fields", "learnt_without"]

Field = tuple[str, ...]
"""Path of a field: what part of a checkpoint it is in, then names, or places in a list, down to it."""
_JSON: Final = frozenset({"meta", "ledger", "restatements", "rows", "entities"})
_ARROW: Final = ("carry/", "late/", "window/", "row/")
_DAYS: Final = ("segment/items/", "segment/said/")
_DTYPE: Final = re.compile(r"[<>|=][a-zA-Z]\d+")


def fields_of(checkpoint: Checkpoint) -> set[Field]:
    """Every field that holds something."""
    found: set[Field] = set()
    _Visit(_names(checkpoint), found=found).parts(checkpoint)
    return found


def forgetting(checkpoint: Checkpoint, field: Field, fresh: Checkpoint) -> Checkpoint:
    """`checkpoint` that holds in `field` what `fresh` does, of a pipeline that has seen no record."""
    parts = _Visit(_names(checkpoint), field, fresh=fresh).parts(checkpoint)
    return Checkpoint(checkpoint.stream, checkpoint.offset, parts)


def learnt_fields(learner: Learner, state: Any, site: Site) -> set[Field]:
    """Every field of a learner's state that holds something."""
    found: set[Field] = set()
    _of_learner(learner, state, _Visit(_names_of(site), found=found))
    return found


def learnt_without(learner: Learner, state: Any, field: Field | None, site: Site) -> Any:
    """A learner's state as a checkpoint gives it back, without `field`."""
    return _of_learner(learner, state, _Visit(_names_of(site), field))


def _of_learner(learner: Learner, state: Any, visit: _Visit) -> Any:
    path = (learner.name,)
    if learner.state is None:
        return visit.value(path, json.loads(json.dumps(state)))
    return learner.state.from_bytes(visit.learnt(path, state.to_bytes()))


def _names(checkpoint: Checkpoint) -> frozenset[str]:
    return _names_of(parse_site(json.loads(checkpoint.parts["registry"]))[0])


def _names_of(site: Site) -> frozenset[str]:
    named = (
        site.devices,
        site.networks,
        site.units,
        site.contracts,
        site.places,
        site.vehicles,
        site.streams,
    )
    return frozenset({"plant", "substation", "meter"}).union(*named)


class _Visit:
    """A way through a state: to note each field, or to forget one."""

    def __init__(
        self,
        names: frozenset[str],
        field: Field | None = None,
        *,
        found: set[Field] | None = None,
        fresh: Checkpoint | None = None,
    ):
        self._names, self._field, self._found, self._fresh = names, field, found, fresh

    def parts(self, checkpoint: Checkpoint) -> dict[str, bytes]:
        """Every part, rewritten where it holds the field; what is learnt is left to `learnt_fields`."""
        parts = {}
        for name, data in checkpoint.parts.items():
            kind = _kind(name)
            mine = self._field is None or self._field[: len(kind)] == kind
            if kind[0] in {"registry", "learnt"}:
                parts[name] = data
            elif not self._met(tuple(name.split("/")[:2]), data):
                parts[name] = self._part(kind, data) if mine else data
        return parts

    def _part(self, kind: Field, data: bytes) -> bytes:
        if kind[0] in {"carry", "window", "row", "segment"}:
            return self._table(kind, data)
        if kind[0] in {"items", "said"}:
            head, *lines = data.decode().split("\n")
            made = [json.dumps(self._places(kind, json.loads(line)), ensure_ascii=False) for line in lines]
            return "\n".join([head, *made]).encode()
        return json.dumps(self.value(kind, json.loads(data))).encode()

    def learnt(self, kind: Field, data: bytes) -> bytes:
        """JSON, or a length, JSON of that length, and more JSON."""
        if data[:1] in b"{[":
            return json.dumps(self.value(kind, json.loads(data))).encode()
        size = 8 + int.from_bytes(data[:8], "big")
        head = json.dumps(self._list((*kind, "head"), json.loads(data[8:size]))).encode()
        return len(head).to_bytes(8, "big") + head + self.learnt(kind, data[size:])

    def _met(self, path: Field, value: Any) -> bool:
        """Whether this is what is to be forgotten."""
        if self._found is not None and not _is_nothing(value):
            self._found.add(path)
        return path == self._field

    def _table(self, kind: Field, data: bytes) -> bytes:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
        arrays = []
        for at, name in enumerate(batch.schema.names):
            column = batch.column(at)
            what = name.rstrip("0123456789")  # what the columns of values hold is data
            if self._met((*kind, what), None if _blank(column).equals(column) else column):
                column = _blank(column)
            arrays.append(column)
        sink = pa.BufferOutputStream()
        made = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        with pa.ipc.new_stream(sink, made.schema) as writer:
            writer.write_batch(made)
        return bytes(sink.getvalue())

    def value(self, path: Field, value: Any) -> Any:
        if isinstance(value, dict):
            if path == ("rows", "learnt"):  # of learners: see `learnt_fields`
                return value
            # Of all operators over entities the same is kept; they wake entities, and streams gave devices away.
            data = path[:2] == ("entities", "operators") or path[-1] == "taken_over"
            return {
                key: self._under((*path, "*" if data else self._name(key)), of) for key, of in value.items()
            }
        if isinstance(value, list) and not _is_array(value) and _is_record(value):
            return self._list(path, value)
        if isinstance(value, str) and value[:1] == "{":
            return json.dumps(self.value(path, json.loads(value)))
        return value

    def _places(self, path: Field, line: list[Any]) -> list[Any]:
        """A row of what entities rest on, or were told: what is under each place is data."""
        return [_nothing(of) if self._met((*path, str(at)), of) else of for at, of in enumerate(line)]

    def _list(self, path: Field, value: list[Any]) -> list[Any]:
        return [self._under((*path, str(at)), of) for at, of in enumerate(value)]

    def _under(self, path: Field, value: Any) -> Any:
        data = path[-1] == "*"  # that one of many is forgotten is none of a field
        if not data and self._met(path, value):
            return self._begun(path, value)
        return self.value(path, value)

    def _begun(self, path: Field, value: Any) -> Any:
        """What a stream begins with, where it has that; else nothing of the same kind."""
        of: Any = None if self._fresh is None else self._fresh.parts.get(path[0])
        if of is not None and path[0] in _JSON:
            of = json.loads(of)
            for key in path[1:]:
                if not isinstance(of, dict) or key not in of:
                    break
                of = of[key]
            else:
                return of
        return _nothing(value)

    def _name(self, key: str) -> str:
        return key if key.isidentifier() and key not in self._names else "*"


def _kind(part: str) -> Field:
    """How the fields of a part begin: of days, windows and the like each has the same."""
    if part.startswith(_DAYS):
        return (part.split("/")[1], "*")
    if part.startswith((*_ARROW, "segment/")):
        return (part.split("/", maxsplit=1)[0], "*")
    return tuple(part.split("/"))


def _is_array(value: list[Any]) -> bool:
    """Whether a list is an array as learners keep it: its type, its shape, its bytes."""
    return bool(value) and isinstance(value[0], str) and _DTYPE.fullmatch(value[0]) is not None


def _is_record(value: list[Any]) -> bool:
    """Whether places in a list have meanings of their own: they are arrays, or differ in kind."""
    if value and all(isinstance(x, list) and _is_array(x) for x in value):
        return True
    return len({dict if isinstance(x, dict) else type(x) for x in value if x is not None}) > 1


def _is_nothing(value: Any) -> bool:
    return value is None or (not isinstance(value, pa.Array) and value == _nothing(value))


def _nothing(value: Any) -> Any:
    if isinstance(value, list) and _is_array(value):
        return [*value[:-1], _zeros(value[-1])]
    if isinstance(value, str) and len(value) % 4 == 0 and value[:1] != "{" and _zeros(value) != value:
        return _zeros(value)
    return None if value is None else type(value)()


def _zeros(text: str) -> str:
    """Bytes as text, as many zeros."""
    try:
        data = b64decode(text, validate=True)
    except (Error, ValueError):
        return ""
    try:
        return b64encode(zlib.compress(bytes(len(zlib.decompress(data))), 1)).decode()
    except zlib.error:
        return b64encode(bytes(len(data))).decode()


def _blank(column: pa.Array) -> pa.Array:
    """As many values that say nothing."""
    kind = column.type
    nothing = np.nan if pa.types.is_floating(kind) else "" if pa.types.is_string(kind) else 0
    return pa.array([nothing] * len(column), kind)
