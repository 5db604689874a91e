"""Who is who: an authority for devices, one for servers, certificates, and what was revoked.

A device's certificate names the device and nothing else; brokers take the name from it. The two
authorities are apart, so that no device can pass for a server, nor a server for a device.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.wire import check_id

__all__ = ["INGEST", "Issued", "Pki", "PkiError"]

INGEST: Final = "ingest"
"""Name of the server at a broker."""
CA_DAYS: Final = 3650
CRL_DAYS: Final = 400
_EARLY: Final = timedelta(minutes=10)  # for devices whose clock is behind
_PEM: Final = serialization.Encoding.PEM


class PkiError(ValueError):
    """It cannot be done; says where, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of the devices' authority.

    Attributes
    ----------
    device : str
    serial : str
        Hexadecimal.
    begins, ends : str
        ISO 8601, UTC.
    revoked : str or None
        When, if it was.
    """

    device: str
    serial: str
    begins: str
    ends: str
    revoked: str | None = None

    def state(self, now: datetime) -> str:
        """`good`, `revoked` or `expired`."""
        if self.revoked is not None:
            return "revoked"
        return "good" if now < datetime.fromisoformat(self.ends) else "expired"


class Pki:
    """A directory of keys, certificates and the list of what was issued.

    Parameters
    ----------
    directory : Path
        ``devices-ca.pem``, ``devices.crl.pem``, ``servers-ca.pem``, ``server.pem``, ``ingest.pem`` and
        ``devices/<device>.pem``, each key beside its certificate with the suffix ``.key``.
    now : callable
        Time now, with a time zone.
    """

    def __init__(self, directory: Path, now: Callable[[], datetime]):
        self.directory = directory
        self._now = now

    def init(self, names: Sequence[str], days: int) -> None:
        """Make both authorities, certificates of a server for `names` and of ingest, a revocation list."""
        if (self.directory / "devices-ca.pem").exists():
            raise PkiError(f"{self.directory}: expected no authority there yet, got devices-ca.pem")
        _check_names(names)  # before anything is there that another attempt would find
        (self.directory / "devices").mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        for name in ("devices", "servers"):
            key, subject = ec.generate_private_key(ec.SECP256R1()), _name(f"Hearthline {name}")
            builder = self._builder(subject, subject, key.public_key(), CA_DAYS)
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            builder = builder.add_extension(_usage(authority=True), critical=True)
            self._write_pair(f"{name}-ca", key, builder.sign(key, hashes.SHA256()))
        server = self._sign("servers-ca", names[0], ExtendedKeyUsageOID.SERVER_AUTH, days, names=names)
        self._write_pair("server", *server)
        self._write_pair("ingest", *self._sign("servers-ca", INGEST, ExtendedKeyUsageOID.CLIENT_AUTH, days))
        self._write_index([])
        self._write_crl([])

    def issue(self, device: str, days: int, *, csr: Path | None = None, renew: bool = False) -> Issued:
        """A certificate that names a device, with a new key or the one of a signing request.

        Raises
        ------
        PkiError
            The name is none, or it has a good certificate and `renew` is not given.
        """
        try:
            check_id(device)
        except ValueError as error:
            raise PkiError(f"device: {error}") from error
        with self._alone():
            known = self.list()
            if not renew and any(c.device == device and c.state(self._now()) == "good" for c in known):
                raise PkiError(
                    f"{device}: expected none yet, got a good certificate: --renew to issue another"
                )
            key, certificate = self._sign(
                "devices-ca", device, ExtendedKeyUsageOID.CLIENT_AUTH, days, csr=csr
            )
            issued = Issued(
                device,
                f"{certificate.serial_number:x}",
                certificate.not_valid_before_utc.isoformat(),
                certificate.not_valid_after_utc.isoformat(),
            )
            # On the list first: a certificate that is on no list could never be revoked.
            self._write_index([*known, issued])
            self._write_pair(f"devices/{device}", key, certificate)
        return issued

    def renew(self, file: str, names: Sequence[str], days: int) -> None:
        """A new key and certificate of the servers' authority: a server for `names`, or ingest for none."""
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        _check_names(names)
        name = names[0] if names else INGEST
        with self._alone():
            self._write_pair(file, *self._sign("servers-ca", name, purpose, days, names=names))

    def revoke(self, devices: Sequence[str]) -> list[Issued]:
        """Revoke every good certificate of some devices, and sign the list anew (also for none of them)."""
        with self._alone():
            now, known = self._now(), self.list()
            has_one = {c.device for c in known}
            if missing := [d for d in devices if d not in has_one]:
                raise PkiError(f"{missing[0]}: expected a device with a certificate, got one without")
            gone = [c for c in known if c.device in devices and c.state(now) == "good"]
            after = [replace(c, revoked=now.isoformat()) if c in gone else c for c in known]
            # Noted first: the list for brokers is made from it, now or when the command is given again.
            self._write_index(after)
            self._write_crl(after)
        return gone

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other commands off what was issued: of two that wrote it at once, one would be forgotten."""
        self.list()  # without one this is no place for a lock either
        with (self.directory / "issued.lock").open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            yield

    def list(self) -> list[Issued]:
        """Everything that the devices' authority has issued, oldest first."""
        path = self.directory / "issued.json"
        try:
            return [_checked(Issued(**entry)) for entry in json.loads(path.read_text(encoding="utf-8"))]
        except FileNotFoundError as error:
            raise PkiError(f"{path}: expected it, got none: hearthline pki init makes it") from error
        except (OSError, ValueError, TypeError) as error:
            raise PkiError(f"{path}: expected the list of certificates, got: {error}") from error

    def crl_ends(self) -> datetime:
        """Until when brokers take the revocation list; afterwards they let nobody in."""
        path = self.directory / "devices.crl.pem"
        try:
            ends = x509.load_pem_x509_crl(path.read_bytes()).next_update_utc
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise PkiError(
                f"{path}: expected a revocation list, got: {why}; hearthline pki revoke signs it anew"
            ) from error
        assert ends is not None
        return ends

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePublicKey,
        days: int,
        until: datetime | None = None,
    ) -> x509.CertificateBuilder:
        """It holds for so many days, but not past `until`: what outlives its authority only seems to hold."""
        now = self._now()
        ends = now + timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLY)
            .not_valid_after(ends if until is None else min(ends, until))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _sign(
        self,
        authority: str,
        name: str,
        purpose: x509.ObjectIdentifier,
        days: int,
        *,
        names: Sequence[str] = (),
        csr: Path | None = None,
    ) -> tuple[ec.EllipticCurvePrivateKey | None, x509.Certificate]:
        ca_key, ca = self._authority(authority)
        key = None if csr is not None else ec.generate_private_key(ec.SECP256R1())
        public = _requested(csr) if csr is not None else key.public_key() if key is not None else None
        assert public is not None
        if ca.not_valid_after_utc <= self._now():
            raise PkiError(
                f"{self.directory / authority}.pem: expected an authority that holds, got one that ended on "
                f"{ca.not_valid_after_utc:%Y-%m-%d}: hearthline pki init in another directory makes others, "
                "which everybody has to be given"
            )
        builder = self._builder(_name(name), ca.subject, public, days, ca.not_valid_after_utc)
        ca_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_usage(authority=False), True),
            (x509.ExtendedKeyUsage([purpose]), False),
            (ca_id, False),
        ):
            builder = builder.add_extension(extension, critical=critical)
        if names:
            san = x509.SubjectAlternativeName([_general_name(n) for n in names])
            builder = builder.add_extension(san, critical=False)
        return key, builder.sign(ca_key, hashes.SHA256())

    def _authority(self, name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        pem, key_path = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        try:
            key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
            certificate = x509.load_pem_x509_certificate(pem.read_bytes())
        except FileNotFoundError as error:
            made = pem.exists() or (self.directory / "issued.json").exists()
            cure = (
                "bring it back from where it is kept for as long as this takes"
                if made
                else "hearthline pki init makes it"
            )
            raise PkiError(f"{error.filename}: expected an authority, got none: {cure}") from error
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:  # the third: an encrypted key
            raise PkiError(f"{key_path}: expected the key of the authority, got: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise PkiError(f"{key_path}: expected the key of {pem.name}, got another")
        return key, certificate

    def _write_pair(
        self, file: str, key: CertificateIssuerPrivateKeyTypes | None, certificate: x509.Certificate
    ) -> None:
        if key is not None:
            secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            self._write(f"{file}.key", secret, 0o600)
        self._write(f"{file}.pem", certificate.public_bytes(_PEM), 0o644)

    def _write_index(self, issued: Sequence[Issued]) -> None:
        text = json.dumps([asdict(i) for i in issued], indent=1)
        self._write("issued.json", text.encode(), 0o644)

    def _write_crl(self, issued: Sequence[Issued]) -> None:
        ca_key, ca = self._authority("devices-ca")
        now = self._now()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(ca.subject)
            .last_update(now - _EARLY)
            .next_update(now + timedelta(days=CRL_DAYS))
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        )
        for entry in issued:
            if entry.revoked is not None:
                builder = builder.add_revoked_certificate(
                    x509.RevokedCertificateBuilder()
                    .serial_number(int(entry.serial, 16))
                    .revocation_date(datetime.fromisoformat(entry.revoked))
                    .build()
                )
        crl = builder.sign(ca_key, hashes.SHA256())
        self._write("devices.crl.pem", crl.public_bytes(_PEM), 0o644)

    def _write(self, name: str, data: bytes, mode: int) -> None:
        """Whole or not at all, and a key never readable by others, not even while it is written."""
        path = self.directory / name
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            _as_before(file.fileno(), path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        place = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(place)  # so that what was written later is never there alone
        finally:
            os.close(place)


def _as_before(file: int, path: Path) -> None:
    """Let who could read the file at `path` read what takes its place, as a broker that is another user."""
    try:
        was = path.stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0:
        os.fchown(file, was.st_uid, was.st_gid)
    os.fchmod(file, stat.S_IMODE(was.st_mode))


def _checked(entry: Issued) -> Issued:
    """Give back an entry whose number and times can be read; ValueError or TypeError if not."""
    int(entry.serial, 16)
    for time in (entry.begins, entry.ends, entry.revoked):
        if time is not None:
            datetime.fromisoformat(time)
    return entry


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        try:
            _name(name)
            _general_name(name)
        except ValueError as error:
            raise PkiError(
                f"--name: expected an address, or a name of 1 to 64 ASCII characters, got {name[:80]!r}"
            ) from error


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _requested(path: Path) -> ec.EllipticCurvePublicKey:
    """The key of a signing request, which has to show that it has the private one too."""
    try:
        request = x509.load_pem_x509_csr(path.read_bytes())
        key = request.public_key()
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise PkiError(f"--csr: expected a PEM signing request in {path}, got: {error}") from error
    if not request.is_signature_valid:
        raise PkiError(f"--csr: expected a request signed with its own key in {path}, got another signature")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PkiError(f"--csr: expected an elliptic-curve key in {path}, got {type(key).__name__}")
    return key


def utc_now() -> datetime:
    """Time now, in UTC."""
    from ingest.clock import wall_clock

    return datetime.fromtimestamp(wall_clock() / 1000, UTC)
