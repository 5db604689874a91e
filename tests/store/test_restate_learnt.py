"""Of what was learnt a restatement is sent what may be used, not all that was ever told."""

from __future__ import annotations

import pyarrow as pa

from models.restate import NetworkSpan, RestateRequest, RowSource
from models.results import Outputs, result_schema
from store.duckdb_series import DuckdbSeries
from store.restate import answer

DAY_MS = 86_400_000
T0 = 20_000 * DAY_MS


def test_only_the_newest_usable_row_of_each_device_and_what_came_after_is_sent(tmp_path):
    store = DuckdbSeries(tmp_path / "a.duckdb")
    schema = result_schema([pa.field("base_kw", pa.float64())])
    rows = [
        {
            "key": key, "unit": "u", "region": "r", "stream": "s", "window_start": T0 + day * DAY_MS,
            "window_ms": DAY_MS, "base_kw": None if day == 7 else float(day), "coverage": 1.0,
            "status": "unknown" if day == 7 else "final", "reason": None, "revision": 0, "model": "signature/1",
        }
        for key, days in (("a", range(12)), ("b", range(3)), ("else", range(12)))
        for day in days
    ]  # fmt: skip
    out = Outputs("s", 1)
    out.add("signature", pa.Table.from_pylist(rows, schema=schema))
    store.write([out])
    # Ended a day before the start of day 9: day 7 and older. The row of day 7 knows nothing, and stands.
    span = NetworkSpan("n", ("a", "b"), T0 + 9 * DAY_MS, T0 + 10 * DAY_MS, T0 + 9 * DAY_MS, T0 + 10 * DAY_MS)
    request = RestateRequest("s:1", "s", 1, T0 + 20 * DAY_MS, (), (), (span,),
                             (RowSource("signature", "device", learnt=True),))  # fmt: skip
    (part,) = answer(store, request)
    sent = part.said["signature"]
    got = {
        (k, (t - T0) // DAY_MS)
        for k, t in zip(sent["key"].to_pylist(), sent["window_start"].to_pylist(), strict=True)
    }
    assert got == {("a", 7), ("a", 8), ("a", 9), ("b", 2)}
    assert part.last
    store.close()
