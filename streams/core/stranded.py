"""Rows of networks that were told while their window filled, and that nobody computes any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.core.network_rows import STEP_MS
from streams.core.operator import NetworkOperator
from streams.core.stream_site import StreamSite
from streams.core.window_state import PROVISIONAL, WindowRows, WindowState

__all__ = ["Stranded", "stranded"]

IntArray = NDArray[np.int64]
Stranded = tuple[NetworkOperator, str, int, int, StreamSite, WindowRows]
"""Operator, network, window start (ms UTC), its length (ms), the site that has the network, and the rows."""


def stranded(
    operators: Sequence[NetworkOperator],
    states: Mapping[tuple[str, int], WindowState],
    networks_at: Mapping[str, int],
    until_ms: int,
    site: StreamSite,
) -> list[Stranded]:
    """Rows of windows settled by `until_ms` (ms UTC) that are provisional still, each as withdrawn.

    A network that loses its devices while its window fills, or a device its network, has none of that
    window by the registry that holds when it is due. `states` forget them.
    """
    found: list[Stranded] = []
    names = list(networks_at)
    for operator in operators:
        for (measurement, start), state in states.items():
            if measurement != operator.name or start + STEP_MS > until_ms:
                continue
            subjects = np.arange(len(state))
            left = subjects[state.status_of(subjects) == PROVISIONAL]
            of: dict[str, list[int]] = {}
            for subject in left.tolist():
                name = names[subject] if operator.subject == "network" else _network_of(subject, start, site)
                of.setdefault(name, []).append(subject)
            for name, mine in of.items():
                then = next((s for _, s in site.since(start) if name in s.site.networks), None)
                window_ms = STEP_MS if then is None else 1000 * int(then.site.networks[name].window_s or 0)
                if start + window_ms <= until_ms:
                    rows = state.withdraw(np.array(mine, dtype=np.int64))
                    if then is not None:
                        found.append((operator, name, start, window_ms, then, rows))
    return found


def _network_of(device: int, from_ms: int, site: StreamSite) -> str:
    """The first network that a device belongs to in windows that end from `from_ms` on; empty for none."""
    return next((str(s.networks[device]) for _, s in site.since(from_ms) if s.networks[device]), "")
