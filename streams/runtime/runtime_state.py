"""How the embedded runtime fares, as `status` and the board are told."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.core.leap import Leap
from streams.runtime.failing import Failing

__all__ = ["RuntimeState"]


@dataclass(slots=True)
class RuntimeState:
    """How the runtime fares, for `status`.

    Attributes
    ----------
    state : str
        `starting`, `ok` or `degraded`.
    detail : str
        Why it is degraded, what it expected and got.
    now_ms : dict of str to int
        Each stream's now. [ms UTC]
    lag : dict of str to int
        Records in the journal that each stream has not stepped yet.
    restating : dict of str to int
        Quarters of an hour, of devices and of networks, that each stream has yet to restate.
    leaps : dict of str to Leap
        Streams whose now leaps over many windows, and how far they are.
    failing : dict of str to tuple of Failure
        What operators of streams cannot compute.
    standing : dict of str to str
        Streams that cannot go on, and why: they stand still until the next start, and the others go on.
    """

    state: str = "starting"
    detail: str = ""
    now_ms: dict[str, int] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    restating: dict[str, int] = field(default_factory=dict)
    leaps: dict[str, Leap] = field(default_factory=dict)
    failing: Failing = field(default_factory=dict)
    standing: dict[str, str] = field(default_factory=dict)
    records: int = 0
