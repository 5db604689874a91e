"""JSON as devices and services send it: read strictly, and pointed into (RFC 6901). Pure."""

from __future__ import annotations

import json
from typing import Any

from edge.driver import RecordError

__all__ = ["parse", "point_to"]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"expected each key once, got {[key for key, _ in pairs]}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"expected JSON, got {name}")


def parse(body: bytes) -> Any:
    """Read a document; RecordError names the byte where it ends being one."""
    try:
        text = body.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise RecordError(error.start, f"expected UTF-8, got 0x{body[error.start]:02X}") from error
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode())
        raise RecordError(
            offset, f"expected JSON, got {body[offset : offset + 20]!r}: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(0, str(error) or "expected a document of some depth, got a deeper one") from error
    if not isinstance(document, dict | list):
        # A number that is cut short is a number: alone it could not be told.
        raise RecordError(0, f"expected an object or a list, got {document!r:.40}")
    return document


def point_to(document: Any, pointer: str) -> Any:
    """What a JSON pointer leads to.

    Raises
    ------
    LookupError
        Naming how far it leads.

    Examples
    --------
    >>> point_to({"a/b": [1, {"c": 2}]}, "/a~1b/1/c")
    2
    """
    at, seen = document, ""
    for raw in pointer.split("/")[1:]:
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(at, dict) and key in at:
            at = at[key]
        elif isinstance(at, list) and key.isdecimal() and int(key) < len(at):
            at = at[int(key)]
        else:
            raise LookupError(f"expected {pointer}, got nothing behind {seen or 'the document'}")
        seen += f"/{raw}"
    return at
