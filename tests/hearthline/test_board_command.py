"""`hearthline board`, run as a program over a stub of InfluxDB."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.support.influx_stub import TOKEN, InfluxStub
from tests.support.payloads import TEXTS
from tests.support.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "hearthline", "board"]


@pytest.fixture
def site_dir(tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_board_reads_influxdb_and_says_how_it_fares(site_dir):
    influx = InfluxStub()
    environment = os.environ | {
        "HEARTHLINE_INFLUX_TOKEN": TOKEN,
        "HEARTHLINE_INFLUX_ORG": "o",
        "HEARTHLINE_INFLUX_BUCKET": "b",
    }
    command = [*COMMAND, "--site", str(site_dir), "--influx", influx.url, "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = program.stdout.readline().split()[-1]
            with urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE_S) as answer:
                assert answer.read() == b"ok\n"
            with urllib.request.urlopen(f"{url}/api/status", timeout=PATIENCE_S) as answer:
                status = json.load(answer)
            assert [(c["name"], c["state"]) for c in status["components"]] == [("store", "ok")]
            assert influx.queries
            program.send_signal(signal.SIGTERM)
            assert program.wait(PATIENCE_S) == 0
        finally:
            program.kill()
            influx.close()


def test_without_a_store_it_says_what_it_expected(site_dir):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEARTHLINE_")}
    done = subprocess.run(
        [*COMMAND, "--site", str(site_dir)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "hearthline: influx: expected a server in --influx or HEARTHLINE_INFLUX_URL, got none\n"
    )
