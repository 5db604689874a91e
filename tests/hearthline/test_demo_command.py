"""`hearthline demo` where it cannot begin, and where it goes on with a long past."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from alerts.action import ALARM_STREAM, Action, Deed, encode
from hearthline.server import JOURNAL_FILE
from ingest.clock import wall_clock
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from tests.support.system import Program
from tests.support.waiting import PATIENCE_S, until


def test_a_file_in_the_place_of_the_data_directory_is_one_clear_line(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-m", "hearthline", "demo", "--for", "2", "--port", "0", "--data-dir", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert done.stderr == f"hearthline: data-dir: expected a writable directory, got {file}: File exists\n"


@pytest.fixture
def long_past(tmp_path):
    """A demo of 400 h, which takes many minutes to simulate again."""
    data = tmp_path / "data"
    data.mkdir()
    now_ms = wall_clock()
    (data / "demo.json").write_text(json.dumps({"start_ms": now_ms - 400 * 3_600_000}))
    journal = SqliteJournal(data / JOURNAL_FILE, wall_clock)
    journal.append(
        [Append(ALARM_STREAM, encode(Action("a", Deed.COMMENT, "gone", "Li", now_ms, "x")), now_ms)]
    )
    journal.close()
    return data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_simulates_its_past_again_says_how_far_it_is_and_stops_when_told(
    tmp_path, long_past, number
):
    with Program(tmp_path, "demo", "--port", 0, "--data-dir", long_past) as demo:
        until(
            lambda: re.search(r"^simulated \d+\.\d of 400 hours$", demo.out, re.MULTILINE), lambda: demo.out
        )
        print(f"stopped within {demo.stop(number):.1f} s")
        assert "simulating its 400 hours again; Ctrl-C stops\n" in demo.out
        assert "the next demo there begins with that\n" in demo.out
        assert "live board" not in demo.out


def test_a_demo_of_seconds_ends_amid_its_past_too(tmp_path, long_past):
    with Program(tmp_path, "demo", "--for", 2, "--port", 0, "--data-dir", long_past, "--json") as demo:
        demo.wait(PATIENCE_S)
        assert "the next demo there begins with that\n" in demo.err
        assert json.loads(demo.out)["board"] | {"url": ""} == {
            "url": "", "first_data_s": None, "answering": True,
        }  # fmt: skip
