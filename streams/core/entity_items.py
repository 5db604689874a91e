"""Events, marks and rows that entities rest on, kept by day for as long as anything reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from streams.core.containing import FAILED
from streams.core.entity_operator import Item

__all__ = ["DAY_MS", "DayParts", "ItemStore"]

DAY_MS: Final = 86_400_000
_VERSION: Final = 1
Name = tuple[Any, ...]
"""What tells an item from others of its source; text and whole numbers."""


class DayParts:
    """Parts of a checkpoint that hold a day each, made again only where the day changed."""

    def __init__(self, kind: str):
        self._kind = kind
        self._changed: set[tuple[str, int]] = set()
        self._made: dict[tuple[str, int], tuple[str, bytes]] = {}

    def touch(self, name: str, t_ms: int) -> None:
        """Note that something of a day changed."""
        self._changed.add((name, t_ms // DAY_MS))

    def make(self, days: Mapping[tuple[str, int], Iterable[Any]]) -> dict[str, bytes]:
        """Parts of all `days` that hold something; their names tell what is in them."""
        for key in self._changed | (self._made.keys() - days.keys()):
            self._made.pop(key, None)
        for key in days.keys() - self._made.keys():
            name, day = key
            lines = [json.dumps({"version": _VERSION, "name": name})]
            lines += [json.dumps(x, ensure_ascii=False) for x in days[key]]
            data = "\n".join(lines).encode()
            digest = hashlib.sha256(data).hexdigest()[:16]
            self._made[key] = (f"segment/{self._kind}/{name}/{day}-{digest}", data)
        self._changed.clear()
        return dict(self._made.values())

    def read(self, parts: Mapping[str, bytes]) -> Iterator[tuple[str, Any]]:
        """Everything in `parts` that `make` made, with the name that it was given."""
        for part, data in parts.items():
            if part.startswith(f"segment/{self._kind}/"):
                head, *lines = data.decode().split("\n")
                about = json.loads(head)
                if about["version"] != _VERSION:
                    raise ValueError(f"{part} of version {about['version']}")
                day = int(part.rsplit("/", 1)[1].split("-")[0])
                self._made[about["name"], day] = (part, data)
                yield from ((about["name"], json.loads(line)) for line in lines)


class ItemStore:
    """Items by source and name."""

    def __init__(self) -> None:
        self._items: dict[str, dict[Name, Item]] = {}
        self._days: dict[tuple[str, int], dict[Name, Item]] = {}
        self._parts = DayParts("items")

    def get(self, source: str, name: Name) -> Item | None:
        """The item of that name, if it is at hand."""
        return self._items.get(source, {}).get(name)

    def names(self, source: str) -> Collection[Name]:
        """Of every item of a source its name."""
        return self._items.get(source, {}).keys()

    def put(self, name: Name, item: Item) -> None:
        """Keep an item in place of the one of its name."""
        self.remove(item.source, name)
        self._items.setdefault(item.source, {})[name] = item
        self._days.setdefault((item.source, item.t // DAY_MS), {})[name] = item
        self._parts.touch(item.source, item.t)

    def remove(self, source: str, name: Name) -> None:
        """Forget the item of that name, if there is one."""
        item = self._items.get(source, {}).pop(name, None)
        if item is not None:
            self._parts.touch(source, item.t)
            day = (source, item.t // DAY_MS)
            del self._days[day][name]
            if not self._days[day]:
                del self._days[day]

    def of(self, source: str) -> Iterator[tuple[Name, Item]]:
        """Every item of a source, with its name."""
        yield from self._items.get(source, {}).items()

    def drop_before(self, source: str, before_ms: int) -> list[tuple[Name, Item]]:
        """Forget whole days that ended by then; what was forgotten."""
        gone: list[tuple[Name, Item]] = []
        for key in [k for k in self._days if k[0] == source and (k[1] + 1) * DAY_MS <= before_ms]:
            gone += list(self._days.pop(key).items())
        for name, _ in gone:
            del self._items[source][name]
        return gone

    def parts(self) -> dict[str, bytes]:
        """State as parts of a checkpoint; `load` reads them."""
        return self._parts.make(
            {
                key: (
                    [n, i.device, i.t, i.values, i.flags, i.boot, i.seq, i.pos]
                    for n, i in sorted(items.items(), key=lambda x: (*x[1].order, str(x[0])))
                )
                for key, items in self._days.items()
            }
        )

    def load(self, parts: Mapping[str, bytes]) -> None:
        """Read what `parts` gave."""
        for source, (name, device, t, values, flags, boot, seq, pos) in self._parts.read(parts):
            failed = not flags and values.get("reason") == FAILED  # of before such rows were flagged
            item = Item(source, device, t, values, (FAILED,) if failed else tuple(flags), boot, seq, pos)
            named = tuple(name)
            self._items.setdefault(source, {})[named] = item
            self._days.setdefault((source, t // DAY_MS), {})[named] = item
