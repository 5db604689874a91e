"""What `status` says of the broker inside, and of the certificates by which devices come in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hearthline.health import Kept, Part, Trouble
from ingest.broker import EmbeddedBroker
from ingest.door import Door
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
        self._ending = Kept(lambda: _ending(broker.door, wall_ms()) if broker.door else [], _LOOK_S)

    def part(self) -> Part:
        """How it fares."""
        broker = self._broker
        dropped = worded("{n} messages dropped for want of room", n=f"{broker.dropped:,}")
        detail = listed([broker.url, dropped] if broker.dropped else [broker.url])
        ended: Trouble = (worded("it has ended"), NOTHING, worded("start the server again"))
        return Part.judged("broker", self._ending() if broker.running else [ended], detail)


def _ending(door: Door, now_ms: int) -> list[Trouble]:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    try:
        of_files = door.files.first_to_end()
    except (OSError, ValueError) as error:
        reason = worded("the certificates of its door cannot be read: {why}", why=str(error))
        return [(reason, NOTHING, worded("see that the files are there: hearthline pki list"))]
    troubles: list[Trouble] = []
    if door.untaken:
        reason = worded("new certificates of its door are not taken: {why}", why=door.untaken)
        troubles.append((reason, NOTHING, worded("see that key and certificate fit: hearthline pki list")))
    name, ends = door.ends or of_files  # what it shows, which may be older than the files
    if (ends - now).days >= _SOON_DAYS:
        return troubles
    day = f"{ends:%Y-%m-%d}"
    if ends <= now:
        reason = worded("{file} ended on {day}: no device can connect", file=name, day=day)
    else:
        reason = worded("{file} ends on {day}: no device can connect then", file=name, day=day)
    return [*troubles, (reason, NOTHING, worded("hearthline pki list says how to renew it"))]
