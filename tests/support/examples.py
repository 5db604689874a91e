"""Laws over generated cases: a few in the gate, more of them in the soak.

The first case that is generated is the simplest: the least seed, and the first of what is sampled from. Where
the gate has only one or two, what tells most comes first in the strategies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy, integers

__all__ = ["RANDOM", "SEEDS", "law"]


class Chance(Random):
    """Chance that is told by its seed: what Hypothesis draws itself is no chance at all in the first case."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.begun_with = seed

    def __repr__(self) -> str:
        return f"Chance({self.begun_with})"


SEEDS: Final = integers(0, 10_000)
RANDOM: Final = SEEDS.map(Chance)
_PHASES: Final = (Phase.explicit, Phase.reuse, Phase.generate)
"""What is generated here does not get clearer by shrinking, and takes long."""


def law(*, gate: int, soak: int, **drawn: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Have a test see `gate` generated cases in the gate, and `soak` of them in the soak.

    Parameters
    ----------
    gate, soak : int
        How many are enough for its mutants, and for what only another case finds; 0 for those that are
        written down as `hypothesis.example`, which each of them has.
    drawn
        As of `hypothesis.given`; its other arguments are fixtures.
    """

    def of(test: Callable[..., None]) -> Any:
        fixtures = [p for p in inspect.signature(test).parameters.values() if p.name not in drawn]

        def run(examples: int, **others: Any) -> None:
            how = settings(
                max_examples=examples or 1, deadline=None, phases=_PHASES if examples else (Phase.explicit,)
            )
            how(given(**drawn)(test))(**others)

        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        counted = inspect.Parameter("examples", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = inspect.Signature([counted, *fixtures])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("examples", [gate, pytest.param(soak, marks=pytest.mark.soak)])(run)

    return of
