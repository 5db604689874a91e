"""What a worker says of how far it is, to whoever watches it from another thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.core.containing import Failure
from streams.core.leap import Leap
from streams.runtime.failing import Failing
from streams.runtime.faust_partition import PartitionRun

__all__ = ["WorkerStanding", "standing_of"]


@dataclass(frozen=True, slots=True)
class WorkerStanding:
    """A look at a worker.

    Attributes
    ----------
    assigned : int
        Partitions that it owns.
    stepped : int
        Records taken in since the start.
    stepped_ms : int
        Time of the oldest of the partitions' last records, 0 before the first. [ms UTC]
    unstepped, unstored : int
        Records that Kafka has and it has not taken in, and those whose results the store lacks.
    unstored_s : float
        How long the oldest of the latter has waited at most. [s]
    checkpoint_age_s : float or None
        Since the oldest of the partitions' newest checkpoints. [s]
    now_ms : dict of str to int
        Each stream's now. [ms UTC]
    restating : dict of str to int
        Quarters of an hour, of devices and of networks, that each stream has yet to restate.
    leaps : dict of str to Leap
        Streams amid a leap of now, and how far they are.
    failing : dict of str to tuple of Failure
        What operators of streams cannot compute.
    standing : dict of str to str
        Streams that cannot go on, and why; all others do.
    degraded : str
        Why the store does not take what there is; empty when it does.
    """

    assigned: int
    stepped: int
    stepped_ms: int
    unstepped: int
    unstored: int
    unstored_s: float
    checkpoint_age_s: float | None
    now_ms: dict[str, int] = field(default_factory=dict)
    restating: dict[str, int] = field(default_factory=dict)
    leaps: dict[str, Leap] = field(default_factory=dict)
    failing: Failing = field(default_factory=dict)
    standing: dict[str, str] = field(default_factory=dict)
    degraded: str = ""


def standing_of(
    runs: Iterable[PartitionRun], *, assigned: int, stepped: int, unstepped: int, now_s: float, degraded: str
) -> WorkerStanding:
    """A look at `runs` at `now_s` of the worker's own clock. [s]"""
    runs = list(runs)
    waiting = [now_s - run.flushed_at for run in runs if run.unsaved]
    now_ms: dict[str, int] = {}
    restating: dict[str, int] = {}
    leaps: dict[str, Leap] = {}
    failing: dict[str, tuple[Failure, ...]] = {}
    standing: dict[str, str] = {}
    for run in runs:
        now_ms.update(run.now_ms())
        restating.update(run.restating())
        leaps.update(run.leaps())
        failing.update(run.failing())
        standing.update(run.standing)
    return WorkerStanding(
        assigned=assigned,
        stepped=stepped,
        stepped_ms=min((run.stepped_ms for run in runs if run.stepped_ms), default=0),
        unstepped=unstepped,
        unstored=sum(run.unsaved for run in runs),
        unstored_s=max(waiting, default=0.0),
        checkpoint_age_s=max((now_s - run.checkpointed_at for run in runs), default=None),
        now_ms=now_ms,
        restating=restating,
        leaps=leaps,
        failing=failing,
        standing=standing,
        degraded=degraded,
    )
