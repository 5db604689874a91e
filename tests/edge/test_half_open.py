"""Lines whose other end is gone without a word, and devices that are entered twice."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest

from edge.config import ConfigError, load
from edge.driver import DriverError
from edge.lines import LineOptions, open_line
from edge.run import make_drivers
from edge.simulators.weighbridge import Shown, toledo
from tests.support.driving import driving
from tests.support.waiting import PATIENCE_S


def test_a_device_that_speaks_by_itself_is_called_again_after_a_silence():
    """Its box lost power and came back: the old connection stands for ever, and nothing comes on it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        where = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with driving("weighbridge", {"address": where, "timeout_s": 0.2, "step": "gross"}) as driver:
            with pytest.raises(DriverError, match="expected the device to speak, got nothing within"):
                driver.read(0)
            silent, _ = listener.accept()
            assert silent.recv(1) == b"", "given up"
            with pytest.raises(DriverError, match="got nothing within"):
                driver.read(0)  # on a connection of its own
            listener.accept()[0].close()
            deadline = time.monotonic() + PATIENCE_S
            while "17240" not in driver.glance() and time.monotonic() < deadline:
                thread = threading.Thread(target=speak, args=(listener,))
                thread.start()
                with suppress(DriverError):  # a busy machine may take longer than the driver waits
                    driver.read(0)
                thread.join(PATIENCE_S)
            assert "17240 kg" in driver.glance()
            silent.close()


def speak(listener):
    """Be the device that came back: two records to whoever calls."""
    with listener.accept()[0] as called, suppress(OSError):
        called.sendall(toledo(Shown(17_240.0)) * 2)
        called.settimeout(1)
        called.recv(1)


def test_the_system_watches_over_a_connection_that_is_asked():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = open_line(LineOptions(address=f"tcp://127.0.0.1:{listener.getsockname()[1]}"))
        line.send(b"x")
        watched = line._socket
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
        line.close()


METER = """
[[device]]
id = "{name}"
region = "r1"
unit = "u1"
class = "meter"
interval_s = 10
driver = "mbus"

[device.mbus]
address = "tcp://127.0.0.1:1"
meter = {meter}
"""


def test_a_meter_that_is_entered_twice_is_named(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("".join(METER.format(name=n, meter=m) for n, m in (("a", 1), ("b", 2), ("c", 1))))
    with pytest.raises(ConfigError, match=r"c.toml: \[\[device\]\] c: mbus: expected another one than a"):
        make_drivers(load(path), "c.toml")
    path.write_text("".join(METER.format(name=n, meter=m) for n, m in (("a", 1), ("b", 2), ("c", 3))))
    for _, driver in make_drivers(load(path), "c.toml"):
        driver.close()


def test_a_dead_band_for_what_a_device_does_not_give_is_named(tmp_path):
    from typer.testing import CliRunner

    from hearthline.cli import build

    path = tmp_path / "c.toml"
    band = "\n[device.report]\nheartbeat_s = 60\ndead_band = { supply_c = 0.2, suply_c = 0.2 }\n"
    path.write_text('[mqtt]\nurl = "mqtt://127.0.0.1:1"\n' + METER.format(name="a", meter=1) + band)
    done = CliRunner().invoke(build(), ["edge", "--config", str(path), "--check", "--simulate"])
    assert done.exit_code == 1
    assert "a: report.dead_band: expected measurements of energy_gj, " in done.output
    assert done.output.splitlines()[-1].endswith(", got suply_c"), done.output
