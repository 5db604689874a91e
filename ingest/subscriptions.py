"""Who hears a topic: found by the topic, not by going through every filter that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Subscriptions"]

Hearers = list[tuple[Any, int]]
"""Sessions, each with the quality of service that it was granted."""


class Subscriptions(dict[str, Hearers]):
    """amqtt's table of topic filters, which compares each message with each of them.

    A fleet has two filters for each device, none of them with a wildcard: so a message is looked up, and
    compared only with the few that have one. It may be changed while somebody walks through it, since
    amqtt awaits on the way.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wild: dict[str, None] = {}

    def __setitem__(self, topic_filter: str, hearers: Hearers) -> None:
        if "+" in topic_filter or "#" in topic_filter:
            self._wild[topic_filter] = None
        super().__setitem__(topic_filter, hearers)

    def __delitem__(self, topic_filter: str) -> None:
        self._wild.pop(topic_filter, None)
        super().__delitem__(topic_filter)

    def clear(self) -> None:
        """Forget all."""
        self._wild.clear()
        super().clear()

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))

    def items(self) -> Any:
        """Pairs as they are now."""
        return list(super().items())

    def __repr__(self) -> str:
        """How many there are: amqtt has it written at each subscription, whoever reads it or not."""
        return f"<{len(self)} topic filters>"

    def hearers(self, topic: str, matches: Callable[[str, str], bool]) -> Iterator[tuple[Any, int]]:
        """Who hears a topic; `matches` tells whether it is within a filter with wildcards."""
        for topic_filter in (topic, *self._wild):
            if topic_filter == topic or matches(topic, topic_filter):
                yield from list(self.get(topic_filter, ()))
