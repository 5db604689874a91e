"""The rules of the broker's door for devices: who may say and hear what. The same as Mosquitto's lists.

A device is named by its certificate. It writes below its own place in the registry, reads its own
acknowledgements and commands, and nothing else.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509

from models.site import Site
from models.wire import ACK, BIRTH, COMMAND, DEATH, STATE, TELEMETRY, Topic

__all__ = ["MAX_PACKET_BYTES", "Allowance", "Denied", "Door", "DoorFiles", "Rules", "peer_name"]

MAX_PACKET_BYTES: Final = 1024 * 1024
_WRITES: Final = frozenset({TELEMETRY, BIRTH, STATE, DEATH})
_READS: Final = frozenset({ACK, COMMAND})
_KEPT: Final = frozenset({BIRTH, STATE})


class Denied(NamedTuple):
    """Something that a device was not allowed.

    Attributes
    ----------
    device : str
        Name in its certificate.
    what : str
        `publish`, `subscribe`, `will` or `connect`.
    topic : str
    why : str
    """

    device: str
    what: str
    topic: str
    why: str


@dataclass(frozen=True, slots=True)
class DoorFiles:
    """Certificates in PEM.

    Attributes
    ----------
    certificate, key : Path
        The server's.
    device_authority, revoked : Path
        The devices' authority, and what it has revoked.
    server_authority : Path or None
        By which devices know the server; it may be kept elsewhere.
    """

    certificate: Path
    key: Path
    device_authority: Path
    revoked: Path
    server_authority: Path | None = None

    @classmethod
    def of(cls, directory: Path) -> DoorFiles:
        """Those that `hearthline pki init` makes."""
        return cls(
            directory / "server.pem",
            directory / "server.key",
            directory / "devices-ca.pem",
            directory / "devices.crl.pem",
            directory / "servers-ca.pem",
        )

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, with a certificate of the devices' authority that is not revoked.

        Raises
        ------
        ValueError
            A file is missing or none of its kind.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._show_by(context)
            context.load_verify_locations(self.device_authority)
            context.load_verify_locations(self.revoked)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(map(str, self._anew))
            raise ValueError(f"expected PEM files in {named}, got: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context

    def changed(self) -> tuple[int, ...]:
        """When each file that may be made anew was written last; OSError if one is not there. [ns]"""
        return tuple(path.stat().st_mtime_ns for path in self._anew)

    @property
    def _anew(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, self.device_authority, self.revoked)

    def _show_by(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, self.key)
        except ssl.SSLError as error:
            if error.reason != "KEY_VALUES_MISMATCH":
                raise
            raise ValueError(
                f"{self.key}: expected the key of {self.certificate.name}, got another: "
                "hearthline pki renew makes both anew"
            ) from error

    def first_to_end(self) -> tuple[str, datetime]:
        """Which file ends first, and when: past that nobody comes in. OSError or ValueError if unreadable."""
        ends = {
            path: x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
            for path in (self.certificate, self.device_authority, self.server_authority)
            if path is not None and (path is not self.server_authority or path.exists())
        }
        until = x509.load_pem_x509_crl(self.revoked.read_bytes()).next_update_utc
        if until is not None:
            ends[self.revoked] = until
        first = min(ends, key=lambda path: ends[path])
        return first.name, ends[first]

    def revoked_serials(self) -> frozenset[int]:
        """Numbers of the certificates that are revoked."""
        return frozenset(entry.serial_number for entry in x509.load_pem_x509_crl(self.revoked.read_bytes()))


def peer_name(certificate: Mapping[str, Any] | None) -> str:
    """The one common name of a certificate as `getpeercert` gives it; empty if it has none or several."""
    names = [
        value for part in (certificate or {}).get("subject", ()) for key, value in part if key == "commonName"
    ]
    return names[0] if len(names) == 1 else ""


class Rules:
    """What each device of a site may do.

    Parameters
    ----------
    site : Site
    """

    def __init__(self, site: Site):
        self._writes: dict[str, frozenset[str]] = {}
        self._reads: dict[str, frozenset[str]] = {}
        for name, device in site.devices.items():
            region = site.region_of(device)
            self._writes[name] = frozenset(str(Topic(region, device.unit, name, kind)) for kind in _WRITES)
            self._reads[name] = frozenset(str(Topic(region, device.unit, name, kind)) for kind in _READS)

    def knows(self, device: str) -> bool:
        """Whether the site has it."""
        return device in self._writes

    def publishing(self, device: str, topic: str, *, retained: bool) -> str:
        """Why a device may not publish there; empty if it may."""
        if topic not in self._writes.get(device, ()):
            return "expected a topic of its own"
        if retained and topic.rpartition("/")[2] not in _KEPT:
            return "expected it not to be retained"
        return ""

    def subscribing(self, device: str, topic: str) -> str:
        """Why a device may not subscribe to that; empty if it may."""
        return "" if topic in self._reads.get(device, ()) else "expected its own ack or command"


class Allowance:
    """How much one device may send: a bucket that fills by the second. What is beyond is not passed on.

    A collector that empties its outbox stays far below; its messages wait there until they are
    acknowledged, so what is held off is late, not lost.

    Parameters
    ----------
    messages_per_s, bytes_per_s : float
    """

    BURST_S: Final = 4.0

    def __init__(self, messages_per_s: float = 1000.0, bytes_per_s: float = 4e6):
        self._rates = (messages_per_s, bytes_per_s)
        self._left = [rate * self.BURST_S for rate in self._rates]
        self._at_s: float | None = None

    def take(self, size: int, now_s: float) -> bool:
        """Whether one more message of `size` bytes is within it."""
        since_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._at_s = now_s
        self._left = [
            min(rate * self.BURST_S, left + rate * since_s)
            for rate, left in zip(self._rates, self._left, strict=True)
        ]
        if self._left[0] < 1 or self._left[1] < size:
            return False
        self._left = [self._left[0] - 1, self._left[1] - size]
        return True


@dataclass(slots=True)
class Door:
    """The door for devices: TLS, certificates, rules and limits.

    Attributes
    ----------
    files : DoorFiles
    rules : Rules
    denied : callable
        Told of everything that was not allowed.
    host : str
    port : int
        0 takes a free one.
    max_connections, most_entering : int
        Devices that are in, and clients that have not yet introduced themselves.
    enter_s : float
        How long the handshake and the introduction may take, each. [s]
    allowance : callable
        Makes the limit of one device.
    clock : callable
        Monotonic. [s]
    revoked : frozenset of int
        Serial numbers of certificates that were revoked since the handshake's own list was read.
    ends : (str, datetime) or None
        Which file of those that newcomers are taken by ends first, and when; None before the door is open.
    untaken : str
        Why newcomers are not taken by the files as they are now, but by those of before; empty if they are.
    """

    files: DoorFiles
    rules: Rules
    denied: Callable[[Denied], None]
    host: str = "127.0.0.1"
    port: int = 8883
    max_connections: int = 10_000
    most_entering: int = 1_000
    enter_s: float = 10.0
    allowance: Callable[[], Allowance] = Allowance
    clock: Callable[[], float] = field(default=time.monotonic)
    revoked: frozenset[int] = frozenset()
    ends: tuple[str, datetime] | None = None
    untaken: str = ""

    def open(self) -> ssl.SSLContext:
        """What newcomers are taken by; ValueError if a file is missing or none of its kind."""
        context = self.files.context()
        self.ends = self.files.first_to_end()
        return context

    def take_revocations(self) -> None:
        """Read which certificates are revoked by now; OSError or ValueError if the list cannot be read."""
        self.revoked = self.files.revoked_serials()

    def has_revoked(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a certificate as `getpeercert` gives it is one of them."""
        return bool(certificate) and int((certificate or {})["serialNumber"], 16) in self.revoked
