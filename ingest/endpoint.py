"""Where a broker is and how to log in there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from models.wording import worded

__all__ = ["Endpoint", "of_certificates"]

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address.

    Attributes
    ----------
    host : str
    port : int
    tls : bool
    username, password : str or None
    ca_file : Path or None
        Certificates to trust; None trusts the system's.
    pair : (Path, Path) or None
        Certificate and key to show.
    """

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    pair: tuple[Path, Path] | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        username: str | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        pair: tuple[Path, Path] | None = None,
    ) -> Endpoint:
        """The endpoint of ``mqtt://host[:port]`` or ``mqtts://…``; ValueError if `url` is neither.

        A password never stands in the URL, because command lines can be read by others.
        """
        expected = "mqtt://host:port or mqtts://host:port"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            msg = f"expected {expected}, got {url!r}: {error}"
            raise ValueError(msg) from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
            msg = f"expected {expected}, got {url!r}"
            raise ValueError(msg)
        if parts.password is not None:
            msg = f"expected {expected} without a password, got one in the URL"
            raise ValueError(msg)
        return cls(
            parts.hostname,
            port or _PORTS[parts.scheme],
            parts.scheme == "mqtts",
            username or parts.username,
            password,
            ca_file,
            pair,
        )

    def tls_context(self) -> ssl.SSLContext:
        """What to trust and to show; ValueError names files that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
            if self.pair is not None:
                context.load_cert_chain(*self.pair)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(file) for file in (self.ca_file, *(self.pair or ())) if file)
            msg = f"mqtt: expected PEM files of a certificate and its key in {named}, got: {error}"
            raise ValueError(msg) from error
        return context

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def of_certificates(error: BaseException | None) -> str:
    """What `error` says of certificates, ours or the broker's; empty if nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return worded("the broker's certificate is not taken: {why}", why=error.verify_message)
    if isinstance(error, ssl.SSLError) and "ALERT_" in (error.reason or ""):
        why = error.reason.partition("ALERT_")[2].replace("_", " ").lower()
        return worded("the broker does not take our certificate: {why}", why=why)
    return ""
