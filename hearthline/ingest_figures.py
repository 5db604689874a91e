"""Figures of the front door, in whichever process it is."""

from __future__ import annotations

from collections.abc import Iterator

from hearthline.metrics import Figure, labelled
from ingest.intake import MAX_BYTES, MAX_MESSAGES
from ingest.outbound import MOST_RANGES
from ingest.service import Ingest

__all__ = ["door_figures"]


def door_figures(ingest: Ingest) -> Iterator[Figure]:
    """What has come, what was made of it, and what waits."""
    status = ingest.status
    yield Figure("hearthline_received_messages_total", status.received)
    yield Figure("hearthline_journalled_messages_total", status.journalled)
    yield Figure("hearthline_accepted_samples_total", status.samples)
    yield Figure("hearthline_accepted_events_total", status.events)
    yield from labelled("hearthline_refused_messages_total", status.refused)
    yield Figure("hearthline_lag_messages", status.queued, ("journalled",))
    yield Figure("hearthline_lag_seconds", status.waiting_s, ("journalled",))
    yield Figure("hearthline_queue_messages", status.queued, ("intake",))
    yield Figure("hearthline_queue_bytes", status.queued_bytes, ("intake",))
    yield Figure("hearthline_queue_limit_messages", MAX_MESSAGES, ("intake",))
    yield Figure("hearthline_queue_limit_bytes", MAX_BYTES, ("intake",))
    yield Figure("hearthline_queue_messages", len(ingest.outbox), ("acks",))
    yield Figure("hearthline_queue_limit_messages", MOST_RANGES, ("acks",))
