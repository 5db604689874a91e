"""Whom a channel believes to be the server it asked for."""

from __future__ import annotations

import ssl

from alerts.rules import Channel

__all__ = ["trusted"]


def trusted(channel: Channel) -> ssl.SSLContext:
    """What TLS of a channel trusts: the authorities of its own file, else those of the system.

    ValueError names a file that has none.
    """
    try:
        return ssl.create_default_context(cafile=channel.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        msg = f"expected a PEM file of certificates to trust in {channel.ca_file}, got: {error}"
        raise ValueError(msg) from error
