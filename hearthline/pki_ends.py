"""When what lies in a directory of certificates ends, and which command makes it anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from hearthline.pki import INGEST, Issued, PkiError

__all__ = [
    "SOON_DAYS",
    "Ending",
    "certificate_of",
    "ends_of_files",
    "in_stack",
    "names_of",
    "newest",
    "warnings",
]

SOON_DAYS: Final = 60
"""So long before an end it is warned of. [d]"""
RENEW: Final = "hearthline pki renew"
_ROTATE: Final = "hearthline secrets init --rotate {name}, with the names of before, and what it says then"
_IN_STACK: Final = {"server.pem": "server", f"{INGEST}.pem": INGEST}
_BOARD: Final = "board_cert.pem"
"""Of the stack's board, beside the directory; it may be of another authority."""
_FILES: Final = {
    "server.pem": RENEW,
    f"{INGEST}.pem": RENEW,
    "servers-ca.pem": "hearthline pki init in another directory, which devices have to be given",
    "devices-ca.pem": "hearthline pki init in another directory, and new certificates for all devices",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """Something that ends.

    Attributes
    ----------
    name : str
        A file, or a device.
    ends : datetime
    cure : str
        What makes another.
    """

    name: str
    ends: datetime
    cure: str


def in_stack(directory: Path) -> bool:
    """Whether it is that of the Compose stack, which `hearthline secrets init` made."""
    return (directory.parent / _BOARD).is_file()


def certificate_of(path: Path) -> x509.Certificate:
    """What is in a file; PkiError says what to do if that is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError as error:
        if not path.name.endswith("-ca.pem") and (path.parent / "servers-ca.pem").exists():
            cure = f"{RENEW} --name with the broker's names makes it"
        elif (path.parent / "issued.json").exists():
            cure = "bring it back; devices trust no other that hearthline pki init would make"
        else:
            cure = "hearthline pki init makes it"
        raise PkiError(f"{path}: expected a certificate, got none: {cure}") from error
    except OSError as error:
        raise PkiError(f"{path}: expected a certificate, got: {error.strerror}") from error
    except ValueError as error:
        raise PkiError(f"{path}: expected a PEM certificate, got: {error}") from error


def ends_of_files(directory: Path) -> tuple[list[Ending], list[PkiError]]:
    """Those of the servers, of both authorities and of the stack's board; and what cannot be read."""
    wanted = {directory / name: cure for name, cure in _FILES.items()}
    if in_stack(directory):
        wanted |= {directory / f: _ROTATE.format(name=name) for f, name in _IN_STACK.items()}
        wanted[directory.parent / _BOARD] = _ROTATE.format(name="board_cert")
    found, failed = [], []
    for path, cure in wanted.items():
        try:
            found.append(Ending(path.name, certificate_of(path).not_valid_after_utc, cure))
        except PkiError as error:
            failed.append(error)
    return found, failed


def names_of(path: Path) -> list[str]:
    """Names and addresses that a server's certificate is for."""
    try:
        names = certificate_of(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise PkiError(f"{path}: expected the names of a server in it, got none: --name says them") from None
    return [str(name.value) for name in names]


def newest(issued: Iterable[Issued]) -> list[Issued]:
    """The certificate of each device that holds longest, of those that are not revoked."""
    found: dict[str, Issued] = {}
    for one in issued:
        if one.revoked is None and (one.device not in found or found[one.device].ends < one.ends):
            found[one.device] = one
    return sorted(found.values(), key=lambda one: (one.ends, one.device))


def warnings(files: Sequence[Ending], issued: Iterable[Issued], now: datetime) -> list[str]:
    """What ends soon or has ended, and what to do, a line each; all devices together in one."""
    said = [
        f"{one.name} {_when(one.ends, now)}: {one.cure}" for one in files if (one.ends - now).days < SOON_DAYS
    ]
    due = [one for one in newest(issued) if (datetime.fromisoformat(one.ends) - now).days < SOON_DAYS]
    if due:
        first = f"{due[0].device} {_when(datetime.fromisoformat(due[0].ends), now)}"
        many = f", and {len(due) - 1} more of devices end within {SOON_DAYS} days" if due[1:] else ""
        said.append(f"{first}{many}: hearthline pki issue --renew, for all of a site with --site")
    return said


def _when(ends: datetime, now: datetime) -> str:
    return f"{'ended' if ends <= now else 'ends'} on {ends:%Y-%m-%d}"
