"""Result tables from what the pipeline computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.results import Status, result_schema
from streams.core.operator import LedgerOperator, NetworkOperator, WindowOperator
from streams.core.row_engine import NetworkComputed
from streams.core.rows import Rows
from streams.core.stream_site import StreamSite
from streams.core.window_state import STATUS_NAMES, WindowRows

__all__ = [
    "RESTATEMENT_SCHEMA",
    "dead_letter_rows",
    "ledger_rows",
    "lost_readings",
    "network_table",
    "restated_rows",
    "window_table",
]

_MOST = 2**63 - 1
_STATUS = np.array(STATUS_NAMES, dtype=object)
RESTATEMENT_SCHEMA = result_schema([
    pa.field("measurement", pa.string()),
    pa.field("subject", pa.string()),
    pa.field("was", pa.string()),
    pa.field("became", pa.string()),
    pa.field("restated_ms", pa.int64()),
])  # fmt: skip
_DEAD_LETTER = result_schema([
    pa.field("device", pa.string()),
    pa.field("topic", pa.string()),
    pa.field("boot", pa.int64()),
    pa.field("seq", pa.int64()),
    pa.field("detail", pa.string()),
    pa.field("payload", pa.string()),
    pa.field("retained", pa.bool_()),
    pa.field("state", pa.string()),
])  # fmt: skip


def _header(
    device: Sequence[int] | NDArray[np.int64], site: StreamSite, stream: str, start_ms: int, window_ms: int
) -> dict[str, pa.Array]:
    index = np.asarray(device, dtype=np.int64)
    n = len(index)
    # As lists: of an array of objects Arrow looks at what else it might hold, for longer than at few names.
    return {
        "key": pa.array(site.names[index].tolist(), pa.string()),
        "unit": pa.array(site.units[index].tolist(), pa.string()),
        "region": pa.array(site.regions[index].tolist(), pa.string()),
        "stream": pa.array([stream] * n, pa.string()),
        "window_start": pa.array(np.full(n, start_ms, np.int64)),
        "window_ms": pa.array(np.full(n, window_ms, np.int64)),
    }


def window_table(
    operator: WindowOperator, start_ms: int, rows: WindowRows, site: StreamSite, stream: str
) -> pa.Table:
    """Rows of one window as a result table; NaN becomes absent."""
    header = _header(rows.device, site, stream, start_ms, 1000 * operator.every_s)
    return _result_table(operator.fields, header, rows)


def network_table(computed: NetworkComputed, stream: str) -> pa.Table:
    """Rows of one window of a network as a result table; NaN becomes absent."""
    header = _network_header(computed, stream)
    return _result_table(computed.operator.fields, header, computed.rows, computed.model or None)


def _network_header(computed: NetworkComputed, stream: str) -> dict[str, pa.Array]:
    site = computed.site
    if computed.operator.subject == "device":
        return _header(computed.rows.device, site, stream, computed.start_ms, computed.window_ms)
    network, n = computed.network, len(computed.rows.device)
    return {
        "key": pa.array([network.id] * n, pa.string()),
        "unit": pa.array([network.unit] * n, pa.string()),
        "region": pa.array([site.site.units[network.unit].region] * n, pa.string()),
        "stream": pa.array([stream] * n, pa.string()),
        "window_start": pa.array(np.full(n, computed.start_ms, np.int64)),
        "window_ms": pa.array(np.full(n, computed.window_ms, np.int64)),
    }


@cache
def _floats(fields: tuple[str, ...]) -> pa.Schema:
    return result_schema([pa.field(f, pa.float64()) for f in fields])


def _result_table(
    fields: Sequence[str], header: Mapping[str, pa.Array], rows: WindowRows, model: str | None = None
) -> pa.Table:
    schema = _floats(tuple(fields))
    columns = dict(header)
    columns.update(
        {f: pa.array(v, pa.float64(), from_pandas=True) for f, v in zip(fields, rows.values, strict=True)}
    )
    columns["coverage"] = pa.array(rows.coverage, pa.float64(), from_pandas=True)
    columns["status"] = pa.array(_STATUS[rows.status].tolist(), pa.string())
    columns["reason"] = pa.array([r or None for r in rows.reason], pa.string())
    columns["revision"] = pa.array(rows.revision.astype(np.int32))
    columns["model"] = pa.array([model] * len(rows.device), pa.string())
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def restated_rows(
    operator: WindowOperator | NetworkOperator | LedgerOperator,
    table: pa.Table,
    rows: WindowRows,
    now_ms: int,
    why: Callable[[str, int, int], str],
) -> pa.Table:
    """For people: of each row that takes back a settled one, what it was, what it is, why and since when.

    The key is measurement, key and revision, so that each restatement stays listed.

    Parameters
    ----------
    operator
        What computed the rows.
    table : pyarrow.Table
        The rows as they are written.
    rows : WindowRows
        The same, with what was said before.
    now_ms : int
        The stream's now. [ms UTC]
    why : callable
    """
    again = rows.take(rows.restated)
    columns = dict(zip(table.column_names, table.filter(pa.array(rows.restated)).columns, strict=True))
    keys, starts = columns["key"].to_pylist(), columns["window_start"].to_pylist()
    ends = [start + ms for start, ms in zip(starts, columns["window_ms"].to_pylist(), strict=True)]
    names = (*operator.fields, "coverage")
    became = np.append(again.values, again.coverage[None], axis=0)
    listed = []
    for at in range(len(keys)):
        before, after = again.was[:, at], became[:, at]
        changed = ~((before == after) | (np.isnan(before) & np.isnan(after)))
        old: dict[str, float | str | None] = {
            n: _number(v) for n, v, c in zip(names, before, changed, strict=True) if c
        }
        new: dict[str, float | str | None] = {
            n: _number(v) for n, v, c in zip(names, after, changed, strict=True) if c
        }
        if again.was_status[at] != again.status[at]:
            old["status"], new["status"] = STATUS_NAMES[again.was_status[at]], STATUS_NAMES[again.status[at]]
        listed.append((json.dumps(old), json.dumps(new), why(keys[at], starts[at], ends[at])))
    n = len(keys)
    columns |= {
        "key": pa.array(
            [f"{operator.name}:{k}:{r}" for k, r in zip(keys, again.revision.tolist(), strict=True)],
            pa.string(),
        ),
        "measurement": pa.array([operator.name] * n, pa.string()),
        "subject": pa.array(keys, pa.string()),
        "was": pa.array([old for old, _, _ in listed], pa.string()),
        "became": pa.array([new for _, new, _ in listed], pa.string()),
        "restated_ms": pa.array([now_ms] * n, pa.int64()),
        "coverage": pa.nulls(n, pa.float64()),
        "status": pa.array([str(Status.FINAL)] * n, pa.string()),
        "reason": pa.array([w for *_, w in listed], pa.string()),
        "model": pa.nulls(n, pa.string()),
    }
    return pa.table(columns).select(RESTATEMENT_SCHEMA.names).cast(RESTATEMENT_SCHEMA)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def ledger_rows(
    fields: Mapping[str, Sequence[int]],
    devices: Sequence[int],
    revisions: Sequence[int],
    day_ms: int,
    day_end_ms: int,
    site: StreamSite,
    stream: str,
    *,
    status: Status,
) -> pa.Table:
    """Ledger rows of one local day."""
    schema = result_schema([pa.field(f, pa.int64()) for f in fields])
    n = len(devices)
    columns = _header(devices, site, stream, day_ms, day_end_ms - day_ms)
    # Numbers reach to 2^63 - 1 in every boot: what a wild one adds up to must not stop the stream.
    columns.update({f: pa.array(_at_most(v), pa.int64()) for f, v in fields.items()})
    columns["coverage"] = pa.array([1.0] * n)
    columns["status"] = pa.array([status] * n, pa.string())
    columns["reason"] = pa.nulls(n, pa.string())
    columns["revision"] = pa.array(revisions, pa.int32())
    columns["model"] = pa.nulls(n, pa.string())
    return pa.table(columns).select(schema.names).cast(schema)


def _at_most(counts: Sequence[int]) -> Sequence[int]:
    return counts if max(counts, default=0) <= _MOST else [min(count, _MOST) for count in counts]


def dead_letter_rows(stream: str, letters: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Refused messages as rows: `key` is the letter's id, `window_start` when it came, `reason` why."""
    rows = [
        {
            "key": x["id"], "unit": x["unit"], "region": x["region"], "stream": stream,
            "window_start": x["at"], "window_ms": 0, "device": x["device"], "topic": x["topic"],
            "boot": x["boot"], "seq": x["seq"], "detail": x["detail"],
            "payload": _text(x["payload"]), "retained": x["retained"], "state": x["state"],
            "coverage": None, "status": str(Status.FINAL), "reason": x["reason"],
            "revision": 0, "model": None,
        }
        for x in letters
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_DEAD_LETTER)


def lost_readings(
    lost: Rows, device_class: str, columns: Sequence[str], site: StreamSite, stream: str, offset: int
) -> pa.Table:
    """Readings that were given and have lost to another since, from what the buffer knows of them."""
    n = lost.n
    numbers = {
        "window_start": lost.t,
        "window_ms": np.zeros(n, np.int64),
        "boot": lost.boot,
        "seq": lost.seq,
        "pos": lost.pos.astype(np.int32),
        "offset": np.full(n, offset, np.int64),
    }
    texts = {
        "key": [site.ids[d] for d in lost.device],
        "unit": list(site.units[lost.device]),
        "region": list(site.regions[lost.device]),
        "stream": [stream] * n,
        "class": [device_class] * n,
        "quality": ["repeat"] * n,
    }
    values = {c: pa.array(v, from_pandas=True) for c, v in zip(columns, lost.values, strict=True)}
    return pa.table({**texts, **numbers, **values})


def _text(payload: bytes | str) -> str:
    """The payload as text, with bytes that are no text escaped: no letter is refused for its content."""
    return payload if isinstance(payload, str) else payload.decode("utf-8", "backslashreplace")
