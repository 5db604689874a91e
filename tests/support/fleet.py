"""What happens to a fleet: messages, reports, registries, and how much of each a history may have."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["INTERVAL_S", "Allowed", "Birth", "Fleet", "History", "Moment", "Report", "Sent", "Traits"]

INTERVAL_S = {"substation": 60, "meter": 3600, "weighbridge": None}
"""Device classes of a fleet, and how often they measure by the registry. [s]"""


@dataclass(frozen=True)
class Sent:
    """A telemetry message; `flaw` is why it is refused, empty where it is not.

    `samples` are times (ms UTC), each with the ticket of the weighing or an empty text.
    """

    device: str
    boot: int
    seq: int
    samples: tuple[tuple[int, str], ...]
    of_class: str
    flaw: str = ""

    @property
    def newest_t(self) -> int:
        return max(t for t, _ in self.samples)

    @property
    def oldest_t(self) -> int:
        return min(t for t, _ in self.samples)


@dataclass(frozen=True)
class Report:
    """What a collector says of its outbox."""

    device: str
    boot: int
    at: int
    next_seq: int
    waiting: tuple[tuple[int, int], ...]
    thinned: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Birth:
    """A collector that connects."""

    device: str
    boot: int
    at: int


@dataclass(frozen=True)
class Allowed:
    """A person's word that a message under a used number may be taken in."""

    device: str
    boot: int
    seq: int
    oldest_t: int


@dataclass(frozen=True)
class Fleet:
    """A version of the registry.

    Attributes
    ----------
    timezone : str
    stream_of : dict of str to int
        Number of each device's stream.
    class_of : dict of str to str
    """

    timezone: str
    stream_of: dict[str, int]
    class_of: dict[str, str]


@dataclass(frozen=True)
class Moment:
    """What happens at one time: a registry, or what arrives.

    Attributes
    ----------
    at_ms : int
    fleet : Fleet or None
        The registry's new version.
    messages : tuple of Sent
        All taken or all refused; `told` and `allowed` come with them.
    told : tuple of Report or Birth
    allowed : tuple of Allowed
    asked : bool
        Whether what is said by now is to be looked at.
    words : bool
        Whether what streams told each other before has arrived by now.
    """

    at_ms: int
    fleet: Fleet | None = None
    messages: tuple[Sent, ...] = ()
    told: tuple[Report | Birth, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    asked: bool = False
    words: bool = True


@dataclass(frozen=True)
class Traits:
    """What may happen in a history besides gaps, repeats, reordering, restarts and late messages."""

    moves: bool = True
    leaves: bool = True
    zones: bool = True
    reuse: bool = True
    before: bool = True
    renamed: bool = True
    long: bool = False


@dataclass(frozen=True)
class History:
    """Moments in order of time, the first of them with a registry."""

    moments: tuple[Moment, ...]
    traits: Traits
