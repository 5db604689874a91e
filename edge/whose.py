"""Whose a file is that this process may not use, and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote

try:
    import pwd
except ImportError:  # not there on Windows, whose files have lists of their own
    pwd = None  # type: ignore[assignment]

__all__ = ["whose"]


def whose(path: Path, kept_in: Path | None = None) -> str:
    """Whose a file or directory is, who this process is, and what to do; empty where users have no numbers.

    Parameters
    ----------
    path : Path
        What this process may not use.
    kept_in : Path or None
        A directory that holds nothing else than what belongs to it, so that all in it may be given away. What
        lies around it otherwise is no business of ours: an outbox may stand in ``/var/lib``.
    """
    if pwd is None:
        return ""
    owner, ours = _user(path.stat().st_uid), _user(os.geteuid())
    if owner == ours:
        return f"{path} is {owner}'s own: chmod u+rw lets it, unless its disk is mounted read-only"
    # A name with a space, unquoted, would give away what is called like its beginning.
    given = f"-R {ours} {quote(str(kept_in))}" if kept_in is not None else f"{ours} {quote(str(path))}"
    return f"{path} is {owner}'s, and this is {ours}: start as {owner}, or sudo chown {given}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        return str(uid)
