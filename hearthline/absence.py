"""Why a question has no rows: a name that nobody knows is told from one of which nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from hearthline.client import ServerClient, ServerError
from models.results import READING
from store.protocol import Select, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["strange_fields", "strange_names"]

Ask = Callable[[Select], "pa.Table"]


@dataclass(frozen=True, slots=True)
class _Known:
    """Names that are known, by what they name."""

    key: frozenset[str]
    unit: frozenset[str]
    region: frozenset[str]


def strange_fields(ask: Ask, asked: Select) -> list[str]:
    """Fields of a refused question that its measurement does not have; none where nobody can say."""
    try:
        there = ask(replace(asked, fields=(), limit=0)).column_names
    except (StoreError, ServerError):
        return []
    return [name for name in asked.fields if name not in there]


def strange_names(ask: Ask, asked: Select, server: ServerClient | None) -> Iterator[str]:
    """What is to be said of keys, units and regions that neither the store nor the registry knows.

    Parameters
    ----------
    ask : callable
    asked : Select
        A question without rows.
    server : ServerClient or None
        Who knows the registry, too.
    """
    said = {"key": asked.keys, "unit": asked.units, "region": asked.regions}
    try:
        without = [(kind, n) for kind, names in said.items() for n in names if not _kept(ask, asked, kind, n)]
        known = _known(ask, asked.measurement, server) if without else None
    except (StoreError, ServerError):
        return  # that there are no rows is said all the same
    for kind, name in without:
        names = getattr(known, kind)
        if name not in names:
            near = ", ".join(get_close_matches(name, names, n=3))
            yield f"{name[:80]!r} is not known here as a {kind}" + (f" (like it are: {near})" if near else "")


def _kept(ask: Ask, asked: Select, kind: str, name: str) -> bool:
    """Whether there is any row, at whatever time, of that name alone: of the measurement, or a reading."""
    of: dict[str, Any] = {
        "key": {"keys": (name,)}, "unit": {"units": (name,)}, "region": {"regions": (name,)}
    }[kind]  # fmt: skip
    anywhere = (Select(m, withdrawn=True, limit=1, **of) for m in dict.fromkeys((asked.measurement, READING)))
    return any(ask(one).num_rows for one in anywhere)


def _known(ask: Ask, measurement: str, server: ServerClient | None) -> _Known:
    """Names of the registry, where a server has it, of the ledger, and of the measurement's rows."""
    rows = ask(Select("ledger", latest=True)).to_pylist()
    if measurement != READING:  # each device there is in the ledger, and there may be very many
        rows += ask(Select(measurement, latest=True)).to_pylist()
    key, unit, region = ({str(r[n]) for r in rows if r.get(n)} for n in ("key", "unit", "region"))
    if server is not None:
        site: dict[str, Any] = server.site()
        devices = site.get("devices", [])
        key |= {d["id"] for d in devices} | {n["id"] for n in site.get("networks", [])}
        key |= set(site.get("plates", {}))
        unit |= {d["unit"] for d in devices}
        region |= {d["region"] for d in devices}
    return _Known(frozenset(key), frozenset(unit), frozenset(region))
