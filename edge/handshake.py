"""What went wrong between a device and its broker, in words, with what to look at."""

from __future__ import annotations

import logging
import ssl
from typing import Final

__all__ = ["UNANSWERED", "LastError", "in_words"]

UNANSWERED: Final = (
    "connection closed before the broker answered: it does not take the certificate of this device, perhaps, "
    "because it has ended, was revoked or is of another authority; the broker's log says why"
)
"""Of a connection with TLS; the broker inside closes it without a word."""

_NOT_YET, _ENDED = 9, 10
_NO_AUTHORITY: Final = frozenset({2, 7, 18, 19, 20, 21})
"""Of X509_verify_cert_error."""
_REFUSED: Final = {
    "certificate expired": "it has ended, or the broker's revocation list has",
    "certificate revoked": "it was revoked",
    "unknown ca": "the broker knows another authority, or has no revocation list of this one",
    "bad certificate": "by the broker's clock it has not begun, perhaps",
    "certificate required": "cert_file and key_file name it",
}


def in_words(error: BaseException) -> str:
    """Why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}{_looked_at(error.verify_code)}"
    if isinstance(error, ssl.SSLError) and "ALERT_" in (error.reason or ""):
        why = error.reason.partition("ALERT_")[2].replace("_", " ").lower()
        hint = _REFUSED.get(why)
        return f"the broker refused the certificate of this device: {why}" + (f" ({hint})" if hint else "")
    return str(error) or type(error).__name__


def _looked_at(code: int) -> str:
    if code in (_NOT_YET, _ENDED):
        return " (see the clock here, and renew the broker's)" if code == _ENDED else " (see the clock here)"
    return " (ca_file has another authority than the broker's)" if code in _NO_AUTHORITY else ""


class LastError(logging.Handler):
    """Keeps the last error that paho met; paho tells it to its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.logger = logging.Logger("paho", logging.ERROR)  # noqa: LOG001  its own: each connection has one
        self.logger.addHandler(self)
        self.why = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Note what was met."""
        met = record.args[0] if isinstance(record.args, tuple) and record.args else None
        self.why = in_words(met) if isinstance(met, BaseException) else record.getMessage()
