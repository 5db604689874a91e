"""A message through a service that Apprise knows: DingTalk, WeCom, Feishu, SMS gateways and many more."""

from __future__ import annotations

from typing import Any

from alerts.channels import Fate, Message, Outcome
from alerts.rules import Channel

__all__ = ["Service", "make"]


class Service:
    """One address of Apprise.

    Raises
    ------
    ValueError
        Apprise is not installed, or does not know the address.
    """

    def __init__(self, channel: Channel):
        try:
            import apprise  # noqa: PLC0415  an extra: most sites need no service
        except ImportError as error:
            msg = f"expected Apprise for a channel of kind {channel.kind}: pip install 'hearthline[alerts]'"
            raise ValueError(msg) from error
        self._apprise: Any = apprise.Apprise()
        if not self._apprise.add(channel.url):
            msg = f"expected an address of {channel.kind} that Apprise knows, got one that it does not"
            raise ValueError(msg)

    def send(self, message: Message) -> Outcome:
        """Give it to the service once. Apprise does not tell a refusal from silence."""
        try:
            if self._apprise.notify(title=message.subject, body=message.text):
                return Outcome(Fate.SENT)
        except Exception as error:  # noqa: BLE001  a service's plugin must not end the channel
            return Outcome(Fate.REFUSED, f"expected the service to take it: {type(error).__name__}")
        return Outcome(Fate.REFUSED, "expected the service to take it, got a refusal or no answer")

    def close(self) -> None:
        """Nothing is kept open."""


def make(channel: Channel) -> Service:
    """The sender of a channel."""
    return Service(channel)
