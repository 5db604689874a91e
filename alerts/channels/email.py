"""A message by mail: a server's 250 after the text, and nothing else, says that it has it."""

from __future__ import annotations

import contextlib
import smtplib
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as LINES
from email.utils import formatdate
from urllib.parse import urlsplit

from alerts.channels import Fate, Message, Outcome
from alerts.channels.patience import cut_after
from alerts.channels.trust import trusted
from alerts.rules import Channel

__all__ = ["Mail", "make"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PATIENCE = 3.0  # times the timeout: for all of a mail's exchanges


class Mail:
    """Gives mail to one server, over TLS unless that is on this machine."""

    def __init__(self, channel: Channel):
        self._channel = channel
        self._parts = urlsplit(channel.url)

    def send(self, message: Message) -> Outcome:
        """Give it to the server once."""
        try:
            server = self._server()
        except ValueError as error:  # the file of certificates changes without us
            return Outcome(Fate.REFUSED, str(error))
        with cut_after(_PATIENCE * self._channel.timeout_s, lambda: server.sock):
            return self._send(server, message)

    def _send(self, server: smtplib.SMTP, message: Message) -> Outcome:
        try:
            data = self._letter(message).as_bytes(policy=LINES)
            self._connect(server)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return Outcome(Fate.REFUSED, f"expected a mail server that lets us in: {_said(error)}")
        try:
            return self._give(server, data)
        finally:
            # It has said what it had to say: how the connection ends changes nothing.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.close()

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        letter["Subject"] = " ".join(message.subject.split())
        letter["From"] = Address(addr_spec=self._channel.sender)
        letter["To"] = [Address(addr_spec=to) for to in self._channel.to]
        letter["Date"] = formatdate(message.made_ms / 1000)
        # The same whenever it is sent again, so that a reader's program shows it once.
        letter["Message-ID"] = f"<{message.id}@hearthline>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.text, cte="base64")
        return letter

    def _server(self) -> smtplib.SMTP:
        timeout_s = self._channel.timeout_s
        server = (
            smtplib.SMTP_SSL(timeout=timeout_s, context=trusted(self._channel))
            if self._parts.scheme == "smtps"
            else smtplib.SMTP(timeout=timeout_s)
        )
        # Named at its making it would connect at once, and could not be cut while it greets.
        server._host = self._parts.hostname or ""  # type: ignore[attr-defined]  # noqa: SLF001
        return server

    def _connect(self, server: smtplib.SMTP) -> None:
        parts, host = self._parts, self._parts.hostname or ""
        try:
            code, said = server.connect(host, parts.port or (465 if parts.scheme == "smtps" else 25))
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
            server.ehlo_or_helo_if_needed()
            if parts.scheme == "smtp" and host not in _LOOPBACK:
                server.starttls(context=trusted(self._channel))
            if self._channel.user:
                server.login(self._channel.user, self._channel.secret)
        except BaseException:
            server.close()
            raise

    def _give(self, server: smtplib.SMTP, data: bytes) -> Outcome:
        try:
            steps = [
                server.mail(self._channel.sender),
                *(server.rcpt(to) for to in self._channel.to),
                server.docmd("DATA"),
            ]
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(Fate.REFUSED, f"expected it to take a mail: {_said(error)}")
        for code, said in steps:
            if code not in {250, 251, 252, 354}:
                return Outcome(Fate.REFUSED, f"expected it to take a mail, got {code} {_text(said)}")
        try:
            server.send(smtplib._quote_periods(data) + b"\r\n.\r\n")  # type: ignore[attr-defined]  # noqa: SLF001  as `SMTP.data` does, which hides how far it came
            code, said = server.getreply()
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(Fate.UNCONFIRMED, f"expected an answer to the mail: {_said(error)}")
        if code == 250:
            return Outcome(Fate.SENT)
        return Outcome(Fate.REFUSED, f"expected it to take the mail, got {code} {_text(said)}")

    def close(self) -> None:
        """Nothing is kept open."""


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")[:200]


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def make(channel: Channel) -> Mail:
    """The sender of a channel."""
    return Mail(channel)
