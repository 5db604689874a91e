"""What part of the business a page is about, and how that narrows a question to the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from alerts.scopes import scope_name
from models.measurements import EVENT_CLASSES
from models.site import Device, Network, Site
from models.wording import worded
from store.protocol import Select

__all__ = [
    "NETWORK_KEY",
    "SCOPE_KEY",
    "Scope",
    "ScopeError",
    "devices_in",
    "narrowed",
    "networks_in",
    "silence_ms",
    "stale_ms",
]

_UNKNOWN_INTERVAL_S = 300.0
_MIN_STALE_MS = 30_000
_MIN_SILENCE_MS = 15 * 60_000
_DAY_MS = 86_400_000


class ScopeError(LookupError):
    """A scope that the registry does not know; says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Group (all empty), region, unit, or one device."""

    region: str = ""
    unit: str = ""
    device: str = ""

    def check(self, site: Site) -> None:
        """ScopeError when the registry does not know it."""
        for what, wanted, known in (
            ("region", self.region, site.regions),
            ("unit", self.unit, site.units),
            ("device", self.device, site.devices),
        ):
            if wanted and wanted not in known:
                got = repr(wanted[:80])
                raise ScopeError(
                    worded("expected a {what} of the registry, got {got}", what=worded(what), got=got)
                )


NETWORK_KEY: Final = "{network}"
"""In a key of a question: one each of the scope's networks."""
SCOPE_KEY: Final = "{scope}"
"""In keys, and in what they begin with: rows made for the scope itself, as what is worst within it."""


def narrowed(select: Select, scope: Scope, *, to_device: bool, site: Site | None = None) -> Select:
    """`select` within `scope`; to its one device when the panel is about a device.

    With a `site`, keys that name ``{network}`` become those of its networks. Where keys name ``{scope}`` it
    has the rows of ``desk``, which are about the group, of ``region:ID`` or of ``unit:ID``.
    """
    if to_device:
        return replace(select, keys=(scope.device,))
    if SCOPE_KEY in "".join((select.key_prefix, *select.keys)):
        name = scope_name(scope.region, scope.unit)
        keys = tuple(key.replace(SCOPE_KEY, name) for key in select.keys)
        return replace(select, keys=keys, key_prefix=select.key_prefix.replace(SCOPE_KEY, name))
    if site is not None and any(NETWORK_KEY in key for key in select.keys):
        names = [n.id for n in networks_in(site, scope)]
        keys = tuple(key.replace(NETWORK_KEY, name) for key in select.keys for name in names)
        # A scope without networks has none of their rows, where no key at all would mean every one.
        select = replace(select, keys=keys or select.keys)
    if scope.unit:
        return replace(select, units=(scope.unit,))
    return replace(select, regions=(scope.region,)) if scope.region else select


def networks_in(site: Site, scope: Scope) -> list[Network]:
    """Networks of the registry within `scope`, by id."""
    return [n for _, n in sorted(site.networks.items()) if _holds(scope, site, n)]


def _holds(scope: Scope, site: Site, network: Network) -> bool:
    unit = site.units[network.unit]
    return scope.unit in {"", unit.id} and scope.region in {"", unit.region}


def devices_in(site: Site, scope: Scope) -> list[Device]:
    """Registered devices within `scope`, by id."""
    return [
        d
        for _, d in sorted(site.devices.items())
        if (not scope.unit or d.unit == scope.unit)
        and (not scope.region or site.region_of(d) == scope.region)
    ]


def stale_ms(device: Device) -> int:
    """Age above which the newest reading of `device` is stale: three intervals, at least 30 s. [ms]

    A weighbridge or a laboratory speaks when something happens: a day is quiet, not an hour.
    """
    if device.device_class in EVENT_CLASSES:
        return _DAY_MS
    return max(_MIN_STALE_MS, int(3000 * (device.interval_s or _UNKNOWN_INTERVAL_S)))


def silence_ms(device: Device) -> int:
    """Age above which `device` is silent: ten intervals, at least 15 minutes; a week for events. [ms]"""
    if device.device_class in EVENT_CLASSES:
        return 7 * _DAY_MS
    return max(_MIN_SILENCE_MS, int(10_000 * (device.interval_s or _UNKNOWN_INTERVAL_S)))
