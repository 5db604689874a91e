"""What a value of a rules file may be, beyond what those of a site's files are."""

from __future__ import annotations

from email.headerregistry import Address
from typing import Any, Final
from urllib.parse import urlsplit

from models.site_cells import Reader

__all__ = ["MAIL_ADDRESS", "TRUTH", "WEB_ADDRESS", "Read", "list_of"]


class Read:
    """A reader of TOML values by a function that raises ValueError."""

    def __init__(self, read: Any):
        self._read = read

    def text(self, cell: str) -> Any:
        """Read a cell that is not empty."""
        return self._read(cell)

    def toml(self, value: object) -> Any:
        """Read a value of a TOML file."""
        return self._read(value)


def list_of(reader: Reader) -> Read:
    """A list that is not empty, of what `reader` reads."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            msg = f"expected a list in square brackets, got {value!r}"
            raise ValueError(msg)
        return tuple(reader.toml(item) for item in value)

    return Read(read)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        msg = f"expected true or false, got {value!r}"
        raise ValueError(msg)  # noqa: TRY004  a reader's word for a wrong value
    return value


def _mail_address(value: Any) -> str:
    """One mailbox: no name beside it, and nothing that would begin another line of a letter's head."""
    try:
        # Letters outside ASCII are taken by few servers, and not without asking.
        address = Address(addr_spec=value) if isinstance(value, str) and value.isascii() else Address()
        good = bool(address.username and address.domain) and value.isprintable() and " " not in value
    except Exception:  # noqa: BLE001  the library's parser raises what it pleases
        good = False
    if not good:
        msg = f"expected a mail address such as li@example.org, got {str(value)[:80]!r}"
        raise ValueError(msg)
    return str(value)


def _web_address(value: Any) -> str:
    """Where a browser finds the board: people click on what is made of it."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        # A reader of letters shows the whole of it, and ends it at a blank.
        good = good and parts.username is None and not parts.fragment and not parts.query
        good = good and value.isprintable() and not set(value) & set(' \\"<>')
    except ValueError:
        good = False
    if not good:
        msg = f"expected http://host:port or https://host without a user, got {str(value)[:80]!r}"
        raise ValueError(msg)
    return str(value)


TRUTH: Final = Read(_truth)
MAIL_ADDRESS: Final = Read(_mail_address)
WEB_ADDRESS: Final = Read(_web_address)
