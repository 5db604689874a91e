"""What rules and maintenance may name: subjects of alarms, and places that hold some."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from alerts.action import Action, ActionError, Deed
from alerts.alarm import Alarm
from alerts.codes import NAMES
from alerts.rules import SitePolicy
from models.site import Site
from models.wording import Worded, worded

__all__ = ["check_maintained", "is_scope", "unknown_scope"]


def is_scope(site: Site, scope: str) -> bool:
    """Whether rules and maintenance of a site may name `scope`."""
    kind, _, name = scope.partition(":")
    known_of = {
        "region": site.regions, "unit": site.units, "network": site.networks, "bridge": site.devices,
        "haulage": site.streams,
    }  # fmt: skip
    if kind in known_of:
        return name in known_of[kind]
    # Suppliers, contracts, plates and tickets come and go without the registry.
    free = kind in {"plate", "supplier", "contract", "ticket"} and name != ""
    return scope == "*" or scope in site.devices or free


def unknown_scope(site: Site, scope: str) -> Worded | None:
    """What was expected in place of a scope that means nothing, with names like it; None if it has a meaning.

    Examples
    --------
    >>> from models.site import Region
    >>> site = Site("s", "s", "UTC", regions={"north": Region("north", "North")})
    >>> unknown_scope(site, "region:north") is None, unknown_scope(site, "region:nrth")[-28:]
    (True, ' (like it are: region:north)')
    """
    if is_scope(site, scope):
        return None
    got = repr(scope[:80])
    of_kinds = {"region": site.regions, "unit": site.units, "network": site.networks}
    names = [f"{kind}:{name}" for kind, known in of_kinds.items() for name in known]
    # An id alone is nearest to what has just that id, which by letters may be far.
    near = [name for name in names if name.partition(":")[2] == scope]
    near = near or get_close_matches(scope, [*site.devices, *names], n=3)
    if not near:
        return worded("expected *, a device, or region:, unit:, network: and its id, got {got}", got=got)
    return worded(
        "expected *, a device, or region:, unit:, network: and its id, got {got} (like it are: {near})",
        got=got, near=", ".join(near),
    )  # fmt: skip


def check_maintained(action: Action, policy: SitePolicy, alarms: Iterable[Alarm]) -> None:
    """Refuse, by an ActionError, maintenance that is about nothing: it would suppress no alarm.

    Only what is asked for now is checked: what was once allowed stands, whatever leaves the registry later.
    """
    if action.deed is not Deed.MAINTAIN:
        return
    seen = list(alarms)
    why = unknown_scope(policy.site, action.alarm)
    if why is not None and all(action.alarm != alarm.subject for alarm in seen):
        raise ActionError(why)
    codes = {*NAMES, *(rule.code for rule in policy.rules.fast), *(alarm.code for alarm in seen)}
    if action.code and action.code not in codes:
        got, near = repr(action.code[:80]), get_close_matches(action.code, codes, n=3)
        if near:
            like = worded("code: expected that of an alarm, got {got} (like it are: {near})",
                got=got, near=", ".join(near))  # fmt: skip
            raise ActionError(like)
        raise ActionError(worded("code: expected that of an alarm, got {got}", got=got))
