"""Whose a file is that this process may not use, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import pwd
except ImportError:  # not there on Windows, whose files have lists of their own
    pwd = None  # type: ignore[assignment]

__all__ = ["whose"]


def whose(path: Path) -> str:
    """Whose a file is, who this process is, and what to do; empty where users have no numbers."""
    if pwd is None:
        return ""
    owner, ours = _user(path.stat().st_uid), _user(os.geteuid())
    if owner == ours:
        return f"{path} is {owner}'s own: chmod u+rw lets it, unless its disk is mounted read-only"
    return f"{path} is {owner}'s, and this is {ours}: start as {owner}, or sudo chown -R {ours} {path.parent}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        return str(uid)
