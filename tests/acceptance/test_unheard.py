"""Whoever reads what server and collector say may end: they go on, and lose nothing."""

from __future__ import annotations

import signal
import subprocess
import urllib.error
import urllib.request

from tests.acceptance.test_stopping import SITE, write_collector
from tests.support.mosquitto import free_port
from tests.support.system import HEARTHLINE, Server, write_site
from tests.support.waiting import PATIENCE_S, until


def left_alone(where, *words):
    """A program of which somebody reads the first line and then ends."""
    process = subprocess.Popen(
        [HEARTHLINE, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=where
    )
    assert process.stdout is not None
    first = process.stdout.readline().decode()
    process.stdout.close()
    return process, first


def ready(board):
    try:
        return urllib.request.urlopen(f"{board}/ready", timeout=PATIENCE_S).status == 200
    except urllib.error.HTTPError:
        return False


def test_a_server_goes_on(tmp_path):
    site, port = write_site(tmp_path / "site", SITE), free_port()
    process, first = left_alone(
        tmp_path,
        "up",
        "--site",
        site,
        "--data-dir",
        "data",
        "--port",
        0,
        "--mqtt",
        f"mqtt://127.0.0.1:{port}",
    )
    try:
        board = first.split()[1]
        until(lambda: not ready(board), "the broker is away, which is said")
        with Server(tmp_path / "other", site, None, "--mqtt-port", port):
            until(lambda: ready(board), "ok again, which is said too")
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()


def test_a_collector_goes_on(tmp_path):
    site, port = write_site(tmp_path / "site", SITE), free_port()
    process, first = left_alone(
        tmp_path, "edge", "--config", write_collector(tmp_path, f"mqtt://127.0.0.1:{port}")
    )
    try:
        assert "mqtt" in first, "the broker is away, which is said"
        with Server(tmp_path / "up", site, None, "--clock", "data", "--mqtt-port", port) as server:
            until(lambda: server.status()["rows"].get("reading", 0) >= 100, "readings")
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()


def test_a_server_starts_where_nobody_ever_reads(tmp_path):
    site = write_site(tmp_path / "site", SITE)
    words = f"up --site {site} --data-dir data --port 0 --mqtt-port 0 --check"
    done = subprocess.run(
        ["sh", "-c", f"exec {HEARTHLINE} {words} >&- 2>&-"], cwd=tmp_path, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "data" / "series.duckdb").exists()
