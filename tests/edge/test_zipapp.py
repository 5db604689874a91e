"""The single file: built by its command, run by a Python that has none of our libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.edge.test_collector import DEVICE, ROOT, TOML, write_csv
from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until


def test_the_single_file_reads_sends_and_ends(tmp_path):
    made = tmp_path / "hearthline-edge.pyz"
    build = [sys.executable, "-m", "tools.collector_zipapp", "--out", str(made)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.stat().st_size < 30e6
    # Without site-packages, and from elsewhere: what it imports is what it brings.
    python = [str(Path(sys.executable).resolve()), "-I", "-S", str(made)]
    environment = {**os.environ, "SHIV_ROOT": str(tmp_path / "unpacked")}
    with Mosquitto() as broker:
        server = FakeServer(broker.port)
        write_csv(tmp_path, "a", range(0, 500, 10))
        text = TOML.format(url=broker.url) + DEVICE.format(name="a", interval=10, most=5, pace='"fast"')
        (tmp_path / "e.toml").write_text(text)
        run = [*python, "edge", "--config", str(tmp_path / "e.toml"), "--json"]
        done = subprocess.run(
            run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["devices"]["a"]["next_seq"] == 11
        until(lambda: len(server.samples("a")) == 50)
        server.close()
    code = (
        "import importlib, pkgutil, edge.drivers\n"
        "for m in pkgutil.iter_modules(edge.drivers.__path__): importlib.import_module('edge.drivers.' + m.name)\n"
        "import sys; print(sorted({'numpy', 'pyarrow', 'cryptography'} & set(sys.modules)), len(edge.drivers.available()))"
    )
    (unpacked,) = (tmp_path / "unpacked").glob("hearthline-edge*/site-packages")
    brought = {path.name.partition("-")[0].lower() for path in unpacked.glob("*.dist-info")}
    assert {"pymodbus", "pydantic", "paho_mqtt"} <= brought
    assert not brought & {"apprise", "requests", "numpy", "alembic"}, "what no collector needs"
    look = [*python[:-1], "-c", f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{code}"]
    out = subprocess.run(look, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    heavy, drivers = out.stdout.rsplit(maxsplit=1)
    assert (heavy, int(drivers)) == ("[]", len(list((ROOT / "edge" / "drivers").glob("[a-z]*.py"))))
