"""A worker's word to the desk: what its streams say is wrong, onto the topic `conditions`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from alerts.fast import FastFilter
from alerts.feed import Said, encode, said_of
from alerts.rules import FastRule
from journal.kafka_log import KafkaLog
from journal.protocol import Append, JournalError
from models.results import Outputs, SinkUnavailableError

__all__ = ["ConditionFeed"]

_TELL_NOW_S: Final = 1.0


class ConditionFeed:
    """A store that tells the desk of conditions once it holds them; all else is the store's own.

    What fails is tried again whole, as writing twice equals writing once: a word that comes twice bears the
    same order, and the desk takes it once.

    Parameters
    ----------
    store
        Given what is written.
    log : KafkaLog
        The topic.
    rules : sequence of FastRule
        For which readings are told too.
    now : callable or None
        The newest now of any stream; None where the desk goes by the wall's clock. [ms UTC]
    """

    def __init__(
        self,
        store: Any,
        log: KafkaLog,
        rules: Sequence[FastRule] = (),
        now: Callable[[], int] | None = None,
    ):
        self._store = store
        self._log = log
        self._fast = FastFilter(rules)
        self._now = now
        self._told_now = float("-inf")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Write, then tell; SinkUnavailableError when Kafka does not take it now."""
        self._store.write(outputs)
        self._fast.settle(arrived=False)  # of a write that failed
        now_ms = self._now() if self._now is not None else 0
        said = [one for output in outputs for one in said_of(output, self._fast, now_ms)]
        if not said and self._now is not None and time.monotonic() - self._told_now > _TELL_NOW_S:
            said = [Said(outputs[0].stream, outputs[0].offset, now_ms, fast=self._fast.codes)]
        if not said:
            self._fast.settle()
            return
        try:
            self._log.append([Append(one.stream, encode(one)) for one in said])
        except JournalError as error:
            raise SinkUnavailableError(str(error)) from error
        self._fast.settle()
        self._told_now = time.monotonic()
