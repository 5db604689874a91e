"""What a collector tells the service manager that started it, and what that may ask of it.

systemd's notification protocol is one datagram to a socket that the environment names (sd_notify(3)):
ready, alive, reloading, stopping. Without that socket nothing is sent.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from edge.say import Say

__all__ = ["Notifier", "Supervised", "Supervisor"]

STUCK_S: Final = 30.0


class Supervised(Protocol):
    """What is watched."""

    @property
    def turned_s(self) -> float:
        """When its slowest thread last came around, on the monotonic clock. [s]"""
        ...


class Notifier:
    """Sends lines to the service manager.

    Parameters
    ----------
    environ : mapping
        Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are looked up.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ):
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if mine and usec.isdecimal() and int(usec) > 0 else None

    def tell(self, *lines: str) -> None:
        """Send some lines in one datagram; that nobody takes it is no fault of ours."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), address)


class Supervisor:
    """Takes its turn in the main thread: says that the process is alive while all its threads are.

    Parameters
    ----------
    say : callable
        Told what a person has to know.
    reload : callable, optional
        Reads the configuration again.
    asked : threading.Event, optional
        Set by the signal that asks for it.
    notifier : Notifier, optional
        The service manager.
    """

    def __init__(
        self,
        say: Say,
        *,
        reload: Callable[[], None] | None = None,
        asked: threading.Event | None = None,
        notifier: Notifier | None = None,
    ):
        self._say = say
        self._reload = reload
        self._asked = asked or threading.Event()
        self._notifier = notifier or Notifier()
        self._told_s: float | None = None
        self._stuck = False

    def turn(self, watched: Supervised) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        if self._told_s is None:
            self._told_s = now_s
            self._notifier.tell("READY=1", "STATUS=reading and sending")
        if self._asked.is_set():
            self._asked.clear()
            self._read_again()
        self._pat(watched, now_s)

    def end(self) -> None:
        """Say that the process is about to end."""
        self._notifier.tell("STOPPING=1")

    def _read_again(self) -> None:
        if self._reload is None:
            return
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._reload()
        finally:
            self._notifier.tell("READY=1")

    def _pat(self, watched: Supervised, now_s: float) -> None:
        """Tell the watchdog, unless a thread has not come around: then it is to start us anew."""
        period_s = self._notifier.watchdog_s
        if period_s is None or self._told_s is None:
            return
        stuck = now_s - watched.turned_s > min(STUCK_S, period_s)
        if stuck and not self._stuck:
            self._say(f"stuck: a thread has not come around for {now_s - watched.turned_s:.0f} s")
        self._stuck = stuck
        if not stuck and now_s - self._told_s >= period_s / 4:
            self._told_s = now_s
            self._notifier.tell("WATCHDOG=1")
