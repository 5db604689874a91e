"""Rows of entities on their way to the streams that are to know of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from models.frame import ROW_OF_ANOTHER_STREAM, Frame, FrameKind
from models.results import Status
from models.site import Site
from streams.core.entity_operator import EntityOperator
from streams.core.entity_said import Said

__all__ = ["forwarded"]

_MOST_FORWARDED: Final = 400
"""Rows of one frame, which has to stay under 512 KiB."""


def forwarded(
    operator: EntityOperator, changed: Sequence[tuple[Said | None, Said]], site: Site, stream: str
) -> Iterator[tuple[str, bytes]]:
    """Streams and frames that tell them of rows that changed; one that a row concerns no more hears so."""
    assert operator.forward is not None
    events: dict[str, list[dict[str, str]]] = {}
    for before, row in changed:
        target = operator.forward(row.values, site)
        earlier = target if before is None else operator.forward(before.values, site)
        taken_back = row.values | {"status": str(Status.WITHDRAWN)}
        for other, values in {earlier: taken_back, target: row.values}.items():
            if other and other != stream:
                measurement, key, start_ms = row.name
                about = {
                    "measurement": measurement, "key": key, "start_ms": start_ms, "stream": stream,
                    "told": row.told, "values": values,
                }  # fmt: skip
                payload = json.dumps(about, ensure_ascii=False)
                event = {"device": "", "kind": ROW_OF_ANOTHER_STREAM, "payload": payload}
                events.setdefault(other, []).append(event)
    for other, rows in sorted(events.items()):
        for at in range(0, len(rows), _MOST_FORWARDED):
            frame = Frame.events(rows[at : at + _MOST_FORWARDED], FrameKind.ACTION)
            yield other, frame.encode()
