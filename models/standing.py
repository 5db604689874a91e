"""The state of one truck as its runs come in: what is settled, and what is too brief to count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.motion import DRIVE_MS, STOP_MS, Motion, Run

__all__ = ["Standing", "states"]

_LEAST_MS = {Motion.STOPPED: STOP_MS, Motion.DRIVING: DRIVE_MS, Motion.OFFLINE: 0}


@dataclass(frozen=True, slots=True)
class Standing:
    """A truck's state and its last run, which may go on.

    A run that is not of the state's motion begins another state where it lasts long enough, follows a time
    out of reach, or nothing joins it to the state; else it belongs to the state.

    Attributes
    ----------
    state : Run or None
        The state, with all that came before the last run.
    run : Run or None
        The last run, where it does not belong to the state for good.
    """

    state: Run | None = None
    run: Run | None = None

    @property
    def current(self) -> Run | None:
        """The state in progress, as far as it is known."""
        if self.run is None or self.state is None:
            return self.state
        return _longer(self.state, self.run)

    def after(self, runs: Iterable[Run]) -> tuple[Standing, list[Run]]:
        """The state after more runs, which may have been cut anywhere, and the states that ended by them."""
        state, run = self.state, self.run
        ended: list[Run] = []
        for new in runs:
            if run is not None and run.motion is new.motion and run.to_ms == new.from_ms:
                run = _longer(run, new)
            else:
                if run is not None and state is not None:
                    state = _longer(state, run)  # it was too brief, and will not grow
                run = new
            if state is None or _begins(state, run):
                if state is not None:
                    ended.append(state)
                state, run = run, None
            elif run.motion is state.motion:
                state, run = _longer(state, run), None
        return Standing(state, run), ended


def _begins(state: Run, run: Run) -> bool:
    """Whether a run begins another state."""
    if run.from_ms > state.to_ms:
        return True
    if run.motion is state.motion:
        return False
    return state.motion is Motion.OFFLINE or run.to_ms - run.from_ms >= _LEAST_MS[run.motion]


def _longer(run: Run, by: Run) -> Run:
    return replace(run, to_ms=by.to_ms, metres=run.metres + by.metres)


def states(runs: Iterable[Run]) -> list[Run]:
    """All states of one truck, sorted; the last is in progress, as far as its fixes go.

    Examples
    --------
    >>> stop, go = Motion.STOPPED, Motion.DRIVING
    >>> found = states([Run(go, 0, 60_000, 600.0, 1.0, 2.0), Run(stop, 60_000, 90_000, 0.0, 1.0, 2.0),
    ...                 Run(go, 90_000, 99_000, 90.0, 1.0, 2.0), Run(stop, 99_000, 300_000, 0.0, 1.0, 2.0)])
    >>> [(run.motion.name, run.from_ms, run.to_ms) for run in found]
    [('DRIVING', 0, 99000), ('STOPPED', 99000, 300000)]
    """
    standing, ended = Standing().after(runs)
    return ended if standing.current is None else [*ended, standing.current]
