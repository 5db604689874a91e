"""How devices on lines are read: asked in turn, where several share a line, or listened to.

A serial bus, or a gateway in front of one, carries one question at a time. Devices with one address in
their configuration share one line and take turns; one that stays silent costs each of its neighbours
one time-out, and after three failures in a row it is asked less and less often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from edge.driver import DriverError, RecordError
from edge.lines import MAX_DRAIN, LineOptions, drain, open_line
from edge.live import Live
from edge.say import Complaints

__all__ = ["Asker", "Polled", "Streamed"]

BUSY_S: Final = 30.0
PATIENCE: Final = 3
LONGEST_PAUSE_S: Final = 60.0
MOST_NOISE: Final = 512
MOST_FIRST: Final = 1000
T = TypeVar("T", bound=LineOptions)


class _Shared:
    """One line and the devices that take turns on it."""

    _all: Final[dict[str, _Shared]] = {}
    _guard = threading.Lock()

    def __init__(self, options: LineOptions):
        self.options = options
        self.line = open_line(options)
        self.turn = threading.Lock()
        self.users = 0

    @classmethod
    def take(cls, options: LineOptions) -> _Shared:
        with cls._guard:
            shared = cls._all.get(options.address)
            if shared is None:
                shared = cls._all[options.address] = cls(options)
            elif not options.tcp and shared.serial != cls.serial_of(options):
                raise DriverError(
                    f"{options.address}: expected one setting for all devices of the line "
                    f"{shared.serial}, got {cls.serial_of(options)}"
                )
            shared.users += 1
            return shared

    @staticmethod
    def serial_of(options: LineOptions) -> tuple[int, int, str, int]:
        return options.baud, options.bits, options.parity, options.stop

    @property
    def serial(self) -> tuple[int, int, str, int]:
        return self.serial_of(self.options)

    def leave(self) -> None:
        with self._guard:
            self.users -= 1
            if self.users == 0:
                del self._all[self.options.address]
                self.line.close()


class Asker:
    """Asks one device on a line that it may share with others.

    Parameters
    ----------
    options : LineOptions
        The line.

    Raises
    ------
    DriverError
        If another device has the same port with other settings.
    """

    def __init__(self, options: LineOptions):
        self._timeout_s = options.timeout_s
        self._shared = _Shared.take(options)
        self._failures = self._before = 0
        self._not_before_s = 0.0
        self._closed = False

    def ask(
        self,
        request: bytes,
        whole: Callable[[bytes], int | None],
        *,
        first: tuple[bytes, bytes] | None = None,
    ) -> bytes:
        """Send a request and wait for its whole answer.

        Parameters
        ----------
        request : bytes
            What to send.
        whole : callable
            Given what came so far, how long the answer is; None while that cannot be told.
        first : (bytes, bytes), optional
            What to send before, in the same turn, and how it has to be answered.

        Raises
        ------
        RecordError
            If the answer breaks off.
        DriverError
            If none comes, or the line is gone.
        """
        if self._shared.users > 1 and time.monotonic() < self._not_before_s:
            raise DriverError(f"failed {self._failures} times: its neighbours go first for a while")
        if not self._shared.turn.acquire(timeout=BUSY_S):
            raise DriverError(f"{self._shared.options.address}: expected a turn, got none in {BUSY_S:g} s")
        try:
            if first is not None:
                opened = self._exchange(first[0], lambda _: len(first[1]))
                if opened != first[1]:
                    raise RecordError(0, f"expected {first[1].hex(' ')}, got {opened[:16].hex(' ')}")
            answer = self._exchange(request, whole)
        except DriverError:
            self.failed()
            raise
        finally:
            self._shared.turn.release()
        self._before, self._failures = self._failures, 0
        return answer

    def put_off(self) -> None:
        """Note that an answer came, but only to say that the device has none: it counts as silence."""
        self._failures = self._before
        self.failed()

    def failed(self) -> None:
        """Note that the device did not answer, or not as it should."""
        self._failures += 1
        if self._failures >= PATIENCE:
            pause_s = min(2.0 ** (self._failures - PATIENCE), LONGEST_PAUSE_S)
            self._not_before_s = time.monotonic() + pause_s

    def _exchange(self, request: bytes, whole: Callable[[bytes], int | None]) -> bytes:
        line = self._shared.line
        with suppress(DriverError):  # a peer that closed an idle connection: sending opens it again
            drain(line, 0.0)  # an answer that came too late is none to this question
        line.send(request)
        until_s = time.monotonic() + self._timeout_s
        answer = b""
        length: int | None = None
        while length is None or len(answer) < length:
            left_s = until_s - time.monotonic()
            part = line.receive(left_s) if left_s > 0 else b""
            if not part:
                if not answer:
                    raise DriverError(
                        f"{self._shared.options.address}: expected an answer, "
                        f"got none within {self._timeout_s:g} s"
                    )
                raise RecordError(
                    len(answer), f"expected {length or 'more'} bytes, got {len(answer)} before the time-out"
                )
            answer += part
            if len(answer) > MAX_DRAIN:
                raise RecordError(MAX_DRAIN, "expected an answer, got bytes without end")
            length = whole(answer)
        return answer

    def close(self) -> None:
        """Leave the line; the last to leave closes it."""
        if not self._closed:
            self._closed = True
            self._shared.leave()


class Polled(Live, Generic[T]):
    """A device that answers when it is asked, on a line that it may share.

    Parameters
    ----------
    device : str
        Name for messages.
    options : LineOptions
        Its line, and what else its driver needs to know.
    complaints : Complaints, optional
        Told of single values that are missing or cannot be.
    """

    def __init__(self, device: str, options: T, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        self._asker = Asker(options)

    @property
    def whom(self) -> str:
        """Its line and its place there."""
        return self.options.model_dump_json()

    def close(self) -> None:
        """Leave the line."""
        self._asker.close()


class Streamed(Live, Generic[T]):
    """A device that speaks by itself, on a line of its own.

    Parameters
    ----------
    device : str
        Name for messages.
    options : LineOptions
        Its line, and what else its driver needs to know.
    complaints : Complaints, optional
        Told of records that are damaged.
    """

    def __init__(self, device: str, options: T, complaints: Complaints | None = None):
        super().__init__(device, complaints)
        self.options = options
        self._line = open_line(options)
        self._rest = b""
        self._first = True
        self._noise = 0  # bytes since the last record

    @property
    def whom(self) -> str:
        """Its line."""
        return self.options.model_dump_json()

    def _pull(
        self, split: Callable[[bytes], tuple[list[bytes], bytes]], tells: Callable[[list[bytes]], bool]
    ) -> list[bytes]:
        """Take the records since the last call as `split` finds them; it leaves what is not whole.

        The first call, which may be the only one, waits until a record `tells` something.
        """
        until_s = time.monotonic() + self.options.timeout_s
        records = self._hear(split)
        while self._first and not tells(records) and time.monotonic() < until_s:
            if len(records) > MOST_FIRST:
                break
            try:
                records += self._hear(split)
            except DriverError:
                if not records:
                    raise
                break
        self._first = False
        return records

    def _hear(self, split: Callable[[bytes], tuple[list[bytes], bytes]]) -> list[bytes]:
        came = drain(self._line, self.options.timeout_s)
        if not came:
            # It may be gone without a word, or have come back: the next call opens the line anew.
            self._line.close()
            self._rest = b""
            raise DriverError(
                f"{self.options.address}: expected the device to speak, "
                f"got nothing within {self.options.timeout_s:g} s"
            )
        records, self._rest = split(self._rest + came)
        self._noise = 0 if records else self._noise + len(came)
        if self._noise > MOST_NOISE:
            noise, self._noise = self._noise, 0
            raise DriverError(
                f"{self.options.address}: expected records, got {noise} bytes without one: "
                "check baud, bits and parity"
            )
        return records

    def close(self) -> None:
        """Release the line."""
        self._line.close()
