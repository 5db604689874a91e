"""Scopes that figures of the desk are told for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from models.site import Site

__all__ = ["DESK", "by_scope", "places_of", "scope_name"]

DESK: Final = "desk"
"""The scope of all alarms."""


class _Placed(Protocol):
    @property
    def unit(self) -> str: ...
    @property
    def region(self) -> str: ...


_P = TypeVar("_P", bound=_Placed)


def scope_name(region: str = "", unit: str = "") -> str:
    """How a scope is named in keys: the unit's, else the region's, else `DESK`.

    Examples
    --------
    >>> scope_name(), scope_name("north"), scope_name("north", "donghe")
    ('desk', 'region:north', 'unit:donghe')
    """
    return f"unit:{unit}" if unit else f"region:{region}" if region else DESK


def places_of(site: Site) -> dict[str, dict[str, str]]:
    """Unit and region of every scope of a site, empty where it has none, by its name."""
    regions = [{"unit": "", "region": region} for region in site.regions]
    units = [{"unit": unit.id, "region": unit.region} for unit in site.units.values()]
    return {scope_name(**place): place for place in ({"unit": "", "region": ""}, *regions, *units)}


def by_scope(found: Iterable[_P]) -> dict[str, list[_P]]:
    """What is of each scope, in order: `DESK` has all, a region and a unit what lies there."""
    scopes: dict[str, list[_P]] = {}
    for one in found:
        for scope in dict.fromkeys((DESK, scope_name(one.region), scope_name(one.region, one.unit))):
            scopes.setdefault(scope, []).append(one)
    return scopes
