"""Where panels stand on a Grafana dashboard: where they stand on the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.models.dashboard import GridPos

from dashboards.panels import Panel

__all__ = ["places"]

_COLUMNS: Final = 24
_TILE: Final = (3, 4)
"""Width and height of a tile, in Grafana's units."""
_ROW_HEIGHT: Final = 10


def places(panels: Sequence[Panel]) -> list[GridPos]:
    """One place a panel, in their order.

    Tiles come first, side by side. The others follow as the board's style sheet lets them flow: each behind
    the one before it, where all of its rows are free.
    """
    tiles = [p for p in panels if p.kind == "tile"]
    top = -(-len(tiles) * _TILE[0] // _COLUMNS) * _TILE[1]
    taken: set[tuple[int, int]] = set()
    found, tile, at = [], 0, 0
    for panel in panels:
        if panel.kind == "tile":
            row, column = divmod(tile * _TILE[0], _COLUMNS)
            found.append(GridPos(h=_TILE[1], w=_TILE[0], x=column, y=row * _TILE[1]))
            tile += 1
            continue
        wide = 2 * panel.width
        while not (mine := _cells(at, wide, panel.height)) or mine & taken:
            at += 1
        taken |= mine
        row, column = divmod(at, _COLUMNS)
        found.append(GridPos(h=panel.height * _ROW_HEIGHT, w=wide, x=column, y=top + row * _ROW_HEIGHT))
        at += wide
    return found


def _cells(at: int, wide: int, high: int) -> set[tuple[int, int]]:
    """Rows and columns that a panel would cover; nothing where it would reach over the edge."""
    row, column = divmod(at, _COLUMNS)
    if column + wide > _COLUMNS:
        return set()
    return {(row + i, column + j) for i in range(high) for j in range(wide)}
