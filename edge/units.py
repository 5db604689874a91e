"""From the units of a recording to those that measurement names carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MASS_FLOWS", "Conversion", "conversion", "unit_of"]

_KELVIN = 273.15
_GJ_KWH = 0.0036

# Of each unit that names end with: what converts into it, as (factor, addend), value · factor + addend.
_INTO: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "gj": {"GJ": (1, 0), "MJ": (1e-3, 0), "kJ": (1e-6, 0), "Wh": (3.6e-6, 0), "kWh": (_GJ_KWH, 0),
           "MWh": (3.6, 0), "GWh": (3600, 0), "Gcal": (4.1868, 0)},
    "kw": {"kW": (1, 0), "W": (1e-3, 0), "MW": (1e3, 0), "GJ/h": (1 / _GJ_KWH, 0), "Gcal/h": (1163, 0)},
    "c": {"°C": (1, 0), "C": (1, 0), "K": (1, -_KELVIN), "°F": (5 / 9, -160 / 9), "F": (5 / 9, -160 / 9)},
    "k": {"K": (1, 0)},
    "kpa": {"kPa": (1, 0), "Pa": (1e-3, 0), "MPa": (1e3, 0), "bar": (100, 0), "mbar": (0.1, 0),
            "psi": (6.894757293168361, 0)},
    "m3_h": {"m³/h": (1, 0), "m3/h": (1, 0), "l/h": (1e-3, 0), "l/min": (0.06, 0), "l/s": (3.6, 0),
             "m³/s": (3600, 0), "m3/s": (3600, 0)},
    "m3": {"m³": (1, 0), "m3": (1, 0), "l": (1e-3, 0)},
    "kg": {"kg": (1, 0), "g": (1e-3, 0), "t": (1e3, 0), "kt": (1e6, 0), "lb": (0.45359237, 0)},
    "t": {"t": (1, 0), "kg": (1e-3, 0), "kt": (1e3, 0)},
    "m": {"m": (1, 0), "km": (1e3, 0), "mi": (1609.344, 0)},
    "m_s": {"m/s": (1, 0), "km/h": (1 / 3.6, 0), "mph": (0.44704, 0), "kn": (1852 / 3600, 0)},
    "h": {"h": (1, 0), "min": (1 / 60, 0), "s": (1 / 3600, 0), "d": (24, 0)},
    "pct": {"%": (1, 0), "1": (100, 0)},
    "hz": {"Hz": (1, 0), "rpm": (1 / 60, 0)},
    "deg": {"°": (1, 0), "deg": (1, 0), "rad": (57.29577951308232, 0)},
    "w_m2": {"W/m²": (1, 0), "W/m2": (1, 0), "kW/m²": (1e3, 0)},
    "mj_kg": {"MJ/kg": (1, 0), "kJ/kg": (1e-3, 0), "kcal/kg": (0.0041868, 0)},
}  # fmt: skip
MASS_FLOWS: Final = {"kg/s": 3600.0, "kg/h": 1.0, "t/h": 1000.0}
"""Mass flows in kg/h; a volume flow follows from one by the density."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """``value * factor + addend``; a mass flow is still to be divided by a density."""

    factor: float
    addend: float
    by_density: bool = False

    def __call__(self, value: float) -> float:
        """Convert one number."""
        return value * self.factor + self.addend


def unit_of(measurement: str) -> str | None:
    """Unit that a measurement's name ends with, None if it has none.

    >>> unit_of("flow_m3_h"), unit_of("supply_c"), unit_of("plate")
    ('m3_h', 'c', None)
    """
    parts = measurement.split("_")
    for start in range(1, len(parts)):
        if (suffix := "_".join(parts[start:])) in _INTO:
            return suffix
    return None


def conversion(measurement: str, unit: str | None) -> Conversion:
    """How a number in `unit` becomes `measurement`; without a unit it is taken as it is.

    Raises
    ------
    ValueError
        If the unit does not lead to that of the measurement's name.

    Examples
    --------
    >>> round(conversion("energy_gj", "MWh")(10.0), 9)
    36.0
    """
    if unit is None:
        return Conversion(1.0, 0.0)
    target = unit_of(measurement)
    if target is None:
        raise ValueError(f"expected no unit for {measurement}, whose name carries none, got {unit!r}")
    if target == "m3_h" and unit in MASS_FLOWS:
        return Conversion(MASS_FLOWS[unit], 0.0, by_density=True)
    known = _INTO[target]
    if unit not in known:
        choices = ", ".join((*known, *(MASS_FLOWS if target == "m3_h" else ())))
        raise ValueError(f"expected one of {choices} for {measurement}, got {unit!r}")
    return Conversion(*known[unit])
