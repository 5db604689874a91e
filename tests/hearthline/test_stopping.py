"""How a command hears that it is to stop, and when it no longer does."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests.support.waiting import PATIENCE_S


def ended(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=PATIENCE_S, check=False)
    return done.returncode


def test_a_signal_is_heard_and_a_second_one_ends_at_once():
    assert not ended("""
        import os, signal
        from hearthline.stopping import stop_on_signals
        for number in (signal.SIGINT, signal.SIGTERM):
            stop = stop_on_signals()
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.is_set()
            try:
                os.kill(os.getpid(), number)
            except KeyboardInterrupt:
                continue
            raise SystemExit("not ended")
    """)


def test_where_no_terminal_tells_that_it_is_closed_the_others_are_heard():
    """Windows has no such signal."""
    assert not ended("""
        import os, signal
        del signal.SIGHUP
        from hearthline.stopping import stop_on_signals
        stop = stop_on_signals()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
    """)


def test_a_closed_terminal_stops_cleanly_unless_it_is_to_be_outlived():
    assert not ended("""
        import os, signal
        from hearthline.stopping import stop_on_signals
        stop = stop_on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGHUP)
    """)
    assert not ended("""
        import os, signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        from hearthline.stopping import stop_on_signals
        stop = stop_on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.is_set()
    """)


def test_what_has_ended_well_is_not_ended_badly_by_a_late_signal():
    # What modules hold goes after Python has taken its handlers away, and before the process is gone.
    late = """
        import os, signal
        {heard}
        class Late:
            def __del__(self, kill=os.kill, own=os.getpid(), number=signal.{name}):
                kill(own, number)
        late = Late()
    """
    for name, code in (("SIGTERM", -15), ("SIGINT", -2)):
        handler = f"signal.signal(signal.{name}, lambda *_: None)"
        assert ended(late.format(name=name, heard=handler)) == code
        deaf = "from hearthline.stopping import stop_on_signals; stop_on_signals()"
        assert ended(late.format(name=name, heard=deaf)) == 0
