"""What each network usually loses, and by how much its meters usually disagree, daily."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from models.results import Status, result_schema
from models.site import Network
from models.water_usual import Usual, usual_of
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner
from streams.core.water_windows import days_of, settled_windows, turn_day

__all__ = ["water_normal"]

_FIELDS: Final = {
    "usual_m3_h": "rate_m3_h", "usual_u_m3_h": "rate_u_m3_h", "floor_m3_h": "floor_m3_h",
    "night_m3_h": "night_m3_h", "bias_pct": "bias_pct", "bias_u_pct": "bias_u_pct",
}  # fmt: skip
_SCHEMA: Final = result_schema([pa.field(name, pa.float64()) for name in (*_FIELDS, "days")])


@learner(reads=("network_water",), version=1, fields=(*_FIELDS, "days"), subject="network")
def water_normal(state: Any, settled: Settled) -> tuple[Any, pa.Table | None]:
    """Sum up each local day, and tell the usual of the last fourteen once there are three.

    `usual_m3_h` is the mean rate of loss, `floor_m3_h` the usual floor of a window, `night_m3_h` the least
    floor from 02:00 to 05:00, `bias_pct` how far the plants' meters read from the consumers', of what
    circulates. `_u_` are standard uncertainties of a day to come.
    """
    state = dict(state or {})
    told = []
    for network, window in settled_windows(settled):
        mine = dict(state.get(network.id) or {})
        turned = turn_day(mine, window, settled.site.site.timezone, lambda windows: windows)
        state[network.id] = mine
        usual = usual_of(days_of(mine)) if turned else None
        if usual is not None:
            told.append(_row(settled, network, usual))
    return state, pa.Table.from_pylist(told, schema=_SCHEMA) if told else None


def _row(settled: Settled, network: Network, usual: Usual) -> dict[str, Any]:
    values = {name: getattr(usual, field) for name, field in _FIELDS.items()}
    known = {name: value if value == value else None for name, value in values.items()}  # noqa: PLR0124  NaN
    return {
        "key": network.id, "unit": network.unit, "region": settled.site.site.units[network.unit].region,
        "stream": settled.stream, "window_start": settled.start_ms, "window_ms": STEP_MS, **known,
        "days": float(usual.days), "coverage": 1.0, "status": str(Status.FINAL), "reason": None,
        "revision": 0, "model": "water_normal/1",
    }  # fmt: skip
