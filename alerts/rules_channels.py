"""Channels of a rules file: where they are, and that their credentials can be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from alerts.channels.trust import trusted
from alerts.rules import Channel
from models.site_table import Report, Row, Table
from models.wire import ROOT

__all__ = ["KINDS", "Channels", "Secrets"]

SERVICES: Final = {
    "dingtalk": "dingtalk://{}",
    "wecom": "wecombot://{}",
    "feishu": "feishu://{}",
    "apprise": "{}",
}
"""Kinds of channel whose address is a secret, and how Apprise writes it."""
KINDS: Final = ("email", "webhook", "mqtt", *SERVICES)
_TOPIC_BYTES: Final = 65_535
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets come from.

    Attributes
    ----------
    environ : mapping
        Variables by name.
    directory : Path
        What the names of files are relative to.
    """

    environ: Mapping[str, str]
    directory: Path


class Channels:
    """Reads the rows of the table of channels.

    Parameters
    ----------
    table : Table
    secrets : Secrets
    report : Report
        Takes the faults.
    """

    def __init__(self, table: Table, secrets: Secrets, report: Report):
        self._table = table
        self._secrets = secrets
        self._report = report

    def _fault(self, row: Row, column: str, message: str) -> None:
        self._report.cell(self._table, row, column, message)

    def look_round(self) -> None:
        """Find channels that fall back on themselves, over others or not: that is no way out."""
        next_of = {str(row.values.get("id")): row.values.get("fallback") for row in self._table.rows}
        for row in self._table.rows:
            first = row.values.get("id")
            seen, name = set[object](), row.values.get("fallback")
            while name is not None and name not in seen and name != first:
                seen.add(name)
                name = next_of.get(name)
            if name is not None and name == first:
                fallback = row.values["fallback"]
                self._fault(
                    row, "fallback", f"expected a way that does not come back to {first!r}, got {fallback!r}"
                )

    def read(self, row: Row) -> Channel | None:
        """The channel of a row; faults go to the report."""
        said = row.values
        kind = said.get("kind")
        if kind is None:
            return None
        secret = self._secret(row)
        url = said.get("url", "")
        if kind in SERVICES:
            if url:
                self._fault(row, "url", f"expected a {kind} address in secret_env or secret_file only")
            if not secret:
                self._fault(
                    row,
                    "kind",
                    f"expected credentials of {kind} in secret_env or secret_file, got none",
                )
            url = SERVICES[kind].format(secret) if secret else ""
        else:
            self._address(row, kind, url, secret)
        names = ("id", "kind", "to", "user", "topic", "fallback", "timeout_s", "retry_unconfirmed")
        kept = {name: said[name] for name in names if name in said}
        channel = Channel(
            **kept, url=url, sender=said.get("from", ""), secret=secret, ca_file=self._ca_file(row, kind, url)
        )
        try:
            trusted(channel)
        except ValueError as error:
            self._fault(row, "ca_file", str(error))
        return channel

    def _ca_file(self, row: Row, kind: str, url: str) -> str:
        """The file of certificates that a channel trusts; a fault where it would trust none."""
        said = row.values.get("ca_file")
        if said is None:
            return ""
        if kind in SERVICES:
            self._fault(row, "ca_file", f"expected no certificates for {kind}, which has those of all")
        elif not _with_tls(url):
            self._fault(row, "ca_file", f"expected a url with TLS beside it, got {url or 'none'}")
        return str(self._secrets.directory / said)

    def _address(self, row: Row, kind: str, url: str, secret: str) -> None:
        schemes = {"email": ("smtp", "smtps"), "webhook": ("http", "https"), "mqtt": ("mqtt", "mqtts")}[kind]
        needs = {"email": ("url", "to", "from"), "webhook": ("url",), "mqtt": ("topic",)}[kind]
        for name in needs:
            if name not in row.values:
                self._fault(row, name, f"expected this key for a channel of kind {kind}, got none")
        if kind == "mqtt" and (fault := _no_topic(row.values.get("topic", "-"))):
            self._fault(row, "topic", fault)
        if not url:
            return
        try:
            parts = urlsplit(url)
            good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or parts.password is not None:
            self._fault(row, "url", f"expected {schemes[0]}://host:port without a password, got {url!r}")
            return
        away = parts.hostname not in _LOOPBACK
        if row.values.get("user") and not secret:
            self._fault(row, "user", "expected credentials in secret_env or secret_file, got none")
        elif kind == "email" and away and not (row.values.get("user") and secret):
            self._fault(row, "url", "expected user and credentials for a mail server elsewhere, got none")
        if away and kind == "webhook" and parts.scheme != "https":
            self._fault(row, "url", f"expected https:// for a server elsewhere, got {url!r}")

    def _secret(self, row: Row) -> str:
        """The secret that a channel names; a fault where it cannot be had."""
        variable: str | None = row.values.get("secret_env")
        path: str | None = row.values.get("secret_file")
        if variable is not None:
            value = self._secrets.environ.get(variable, "")
            if not value:
                self._fault(row, "secret_env", f"expected a secret in the variable {variable}, got none")
            return value
        if path is None:
            return ""
        try:
            value = (self._secrets.directory / path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._fault(row, "secret_file", f"expected a readable text file, got {path!r}: {error}")
            return ""
        if not value:
            self._fault(row, "secret_file", f"expected a secret in {path!r}, got an empty file")
        return value


def _with_tls(url: str) -> bool:
    """Whether a channel's address is spoken to over TLS; a mail server elsewhere always is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True  # said elsewhere
    return parts.scheme in {"https", "mqtts", "smtps"} or (
        parts.scheme == "smtp" and parts.hostname not in _LOOPBACK
    )


def _no_topic(topic: str) -> str:
    """Why nothing can be published on `topic`; empty if it can be (MQTT 3.1.1, 4.7)."""
    if set(topic) & {"#", "+", "\0"} or len(topic.encode()) > _TOPIC_BYTES:
        return f"expected a topic of at most {_TOPIC_BYTES} bytes without #, + and NUL, got {topic[:80]!r}"
    if topic.startswith("$"):
        return f"expected a topic that does not begin with $, which is the broker's own, got {topic[:80]!r}"
    if f"{topic}/".startswith(f"{ROOT}/"):
        return f"expected a topic outside {ROOT}, where devices' data is, got {topic[:80]!r}"
    return ""
