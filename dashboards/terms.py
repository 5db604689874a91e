"""What the fields that an alarm's trend draws are called, and in which unit they are shown."""

from __future__ import annotations

from typing import Final

from dashboards.panels import Text
from models.measurements import known

__all__ = ["term_of", "unit_of"]

_RESULTS: Final = {
    "residual_gj": Text("heat that the balance lacks", "热量不平衡量"),
    "loss_gj": Text("heat lost by pipes", "管道散热量"),
    "supplied_gj": Text("heat supplied", "供出热量"),
    "delivered_gj": Text("heat delivered", "送达热量"),
    "storage_gj": Text("heat stored in pipes", "管网蓄热量"),
    "leak_gj": Text("heat leaked", "漏失热量"),
    "leak_m3": Text("water lost", "失水量"),
    "makeup_m3": Text("make-up water", "补水量"),
    "floor_m3_h": Text("least rate of make-up", "补水率底值"),
    "unbiased_m3": Text("supply less return, less what is usual", "供回水差（扣除惯常差）"),
    "difference_m3": Text("supply less return", "供回水差"),
    "circulated_m3": Text("water circulated", "循环水量"),
    "corrected_kg": Text("mass, corrected", "更正后质量"),
    "shortfall_p": Text("probability of a shortfall", "违约概率"),
    "forecast_pct": Text("fulfilment expected at month's end", "月末预计兑现率"),
    "rate_pct": Text("fulfilment rate", "兑现率"),
    "received_kg": Text("received", "到厂量"),
    "planned_to_date_kg": Text("plan to date", "计划进度"),
    "loss_pct": Text("transit loss", "途耗"),
    "q_mj_kg": Text("net calorific value as received", "到厂收到基低位发热量"),
    "loaded_q_mj_kg": Text("net calorific value when loaded", "装车收到基低位发热量"),
}
_STEPS: Final = {"tare": Text("tare", "皮重"), "gross": Text("gross", "毛重")}
_UNITS: Final = {
    "_gj": "GJ", "_m3_h": "m³/h", "_m3": "m³", "_mj_kg": "MJ/kg", "_kg": "kg", "_pct": "%", "_p": "",
}  # fmt: skip
"""By how a field's name ends; the longer ending first."""


def term_of(measurement: str, field: str) -> Text:
    """Words for a field of a measurement, with the step of a weighing where it has one behind it.

    Examples
    --------
    >>> term_of("weighing", "mass_kg gross")
    Text(en='mass, gross', zh='质量（毛重）')
    """
    name, _, step = field.partition(" ")
    of_device = known.get(name) if measurement in ("reading", "weighing") else None
    term = Text(of_device.en, of_device.zh) if of_device is not None else _RESULTS[name]
    if not step:
        return term
    which = _STEPS.get(step, Text(step, step))
    return Text(f"{term.en}, {which.en}", f"{term.zh}（{which.zh}）")


def unit_of(measurement: str, field: str) -> str:
    """Unit of a field's numbers; empty for a ratio.

    Examples
    --------
    >>> unit_of("network_water", "floor_m3_h"), unit_of("fulfilment", "shortfall_p")
    ('m³/h', '')
    """
    name = field.partition(" ")[0]
    if measurement == "reading":
        return known[name].unit
    return next(unit for end, unit in _UNITS.items() if name.endswith(end))
