"""The ledger's days under the data clock, which stands at 0 until a sample comes."""

import pytest

from ingest.messages import ClockMode
from ingest.service import registry_frame
from models.frame import Record
from streams.core.pipeline import Pipeline
from tests.support.payloads import NOW, decode, event, site, state, telemetry


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_device_born_before_the_first_sample_has_no_row_of_1970(checkpointed):
    pipeline = Pipeline("u1")
    rows = pipeline.step(Record("u1", 0, 0, registry_frame(site()).encode())).rows.get("ledger", [])
    birth = event("sub-1", "birth", at=NOW, **{"class": "substation"}, interval_s=10)
    for messages in ([birth, state("sub-1", 1)], [telemetry("sub-1", 1)], [telemetry("sub-1", 2)]):
        now_ms = {} if pipeline.now_ms in (None, 0) else {"u1": pipeline.now_ms}
        for placed in decode(messages, now_ms, ClockMode.DATA).placed:
            record = Record("u1", pipeline.offset + 1, placed.timestamp_ms, placed.frame.encode())
            rows += pipeline.step(record).rows.get("ledger", [])
        if checkpointed:
            pipeline = Pipeline.restore(pipeline.checkpoint())
    rows += pipeline.finish().rows.get("ledger", [])
    said = [row for table in rows for row in table.to_pylist()]
    assert {row["window_start"] for row in said} == {NOW - NOW % 86_400_000 - 8 * 3_600_000}
    assert (said[-1]["sent"], said[-1]["stored"], said[-1]["status"]) == (2, 2, "final")
