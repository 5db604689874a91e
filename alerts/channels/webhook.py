"""A message as JSON, by HTTP POST: the status line alone says whether it arrived."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from alerts.channels import Fate, Message, Outcome
from alerts.channels.patience import cut_after
from alerts.channels.trust import trusted
from alerts.rules import Channel

__all__ = ["Webhook", "make"]

_PATIENCE: Final = 2.0  # times the timeout: to connect, and to be answered


class Webhook:
    """Posts to one address; nothing that a server does after its status line changes what it said."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._parts = urlsplit(channel.url)

    def send(self, message: Message) -> Outcome:
        """Post it once."""
        parts = self._parts
        host = parts.hostname or ""
        try:
            connection = (
                HTTPSConnection(
                    host, parts.port, timeout=self._channel.timeout_s, context=trusted(self._channel)
                )
                if parts.scheme == "https"
                else HTTPConnection(host, parts.port, timeout=self._channel.timeout_s)
            )
        except ValueError as error:  # the file of certificates changes without us
            return Outcome(Fate.REFUSED, str(error))
        try:
            with cut_after(_PATIENCE * self._channel.timeout_s, lambda: connection.sock):
                return self._post(connection, message)
        finally:
            connection.close()

    def _post(self, connection: HTTPConnection, message: Message) -> Outcome:
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        body = {"id": message.id, "subject": message.subject, "text": message.text, **message.facts}
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": message.id}
        if self._channel.secret:
            headers["Authorization"] = f"Bearer {self._channel.secret}"
        data = json.dumps(body, ensure_ascii=False).encode()
        try:
            connection.request("POST", path, data, headers)
        except (OSError, HTTPException, ValueError) as error:
            return Outcome(Fate.REFUSED, f"expected it to take a request: {_said(error)}")
        try:
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return Outcome(Fate.UNCONFIRMED, f"expected an answer to the request: {_said(error)}")
        if 200 <= status < 300:
            return Outcome(Fate.SENT)
        return Outcome(Fate.REFUSED, f"expected an answer of 200, got {status}")

    def close(self) -> None:
        """Nothing is kept open."""


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def make(channel: Channel) -> Webhook:
    """The sender of a channel."""
    return Webhook(channel)
