"""What `status` says of the broker inside, and of the certificates by which devices come in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hearthline.health import Kept, Part, Trouble
from ingest.broker import EmbeddedBroker
from ingest.door import DoorFiles
from models.wording import NOTHING, listed, worded

__all__ = ["BrokerHealth"]

_LOOK_S: Final = 60.0
_SOON_DAYS: Final = 14
"""So long before nobody could come in any more the broker is degraded. [d]"""


class BrokerHealth:
    """Looks at a broker, and once a minute at the files of its door.

    Parameters
    ----------
    broker : EmbeddedBroker
    wall_ms : callable
        Time now, as handshakes have it. [ms UTC]
    """

    def __init__(self, broker: EmbeddedBroker, wall_ms: Callable[[], int]) -> None:
        self._broker = broker
        self._wall_ms = wall_ms
        self._ending = Kept(lambda: _ending(broker.door.files, wall_ms()) if broker.door else [], _LOOK_S)

    def part(self) -> Part:
        """How it fares."""
        broker = self._broker
        dropped = worded("{n} messages dropped for want of room", n=f"{broker.dropped:,}")
        detail = listed([broker.url, dropped] if broker.dropped else [broker.url])
        ended: Trouble = (worded("it has ended"), NOTHING, worded("start the server again"))
        return Part.judged("broker", self._ending() if broker.running else [ended], detail)


def _ending(files: DoorFiles, now_ms: int) -> list[Trouble]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    try:
        name, ends = files.first_to_end()
    except (OSError, ValueError) as error:
        reason = worded("the certificates of its door cannot be read: {why}", why=str(error))
        return [(reason, NOTHING, worded("see that the files are there: hearthline pki list"))]
    if (ends - now).days >= _SOON_DAYS:
        return []
    day = f"{ends:%Y-%m-%d}"
    if ends <= now:
        reason = worded("{file} ended on {day}: no device can connect", file=name, day=day)
    else:
        reason = worded("{file} ends on {day}: no device can connect then", file=name, day=day)
    return [(reason, NOTHING, worded("hearthline pki list says how to renew it"))]
