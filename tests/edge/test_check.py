"""What `hearthline edge --check` says of a configuration before it runs."""

import json

from typer.testing import CliRunner

from hearthline.cli import build


def test_check_names_what_the_server_computes_nothing_of(tmp_path):
    done = checked(tmp_path, "meter", '{ suply_c = "supply_c", return_c = "return_c" }')
    (said,) = done["devices"]["a"]["warnings"]
    assert said == (
        "suply_c: expected a measurement of class meter (perhaps supply_c): "
        "the server will keep it and use it for nothing"
    )
    done = checked(tmp_path, "truck", '{ supply_c = "supply_c", return_c = "return_c" }')
    assert done["devices"]["a"]["warnings"] == [
        f"{name}: expected a measurement of class truck: the server will refuse every message"
        for name in ("supply_c", "return_c")
    ]
    (said,) = checked(tmp_path, "meeter", '{ supply_c = "supply_c" }')["devices"]["a"]["warnings"]
    assert said.startswith("class: expected one of plant, substation, ")
    assert said.endswith(", got 'meeter'")
    assert "warnings" not in checked(tmp_path, "meter", '{ supply_c = "supply_c" }')["devices"]["a"]


def test_check_says_that_an_outbox_can_be_kept_nowhere(tmp_path):
    (tmp_path / "file").write_text("")
    done = checked(tmp_path, "meter", '{ supply_c = "supply_c" }', "file/outbox")
    assert not done["ok"]
    assert done["outbox"]["error"].startswith("outbox: dir: expected a writable directory, got ")
    assert checked(tmp_path, "meter", '{ supply_c = "supply_c" }', "new/outbox")["outbox"]["ok"]
    assert not (tmp_path / "new").exists()


def checked(tmp_path, device_class, columns, outbox="outbox"):
    """What `--check --json` prints of a device that reads a file; no broker is there."""
    (tmp_path / "a.csv").write_text("t,supply_c,return_c\n0,90.5,45.5\n")
    path = tmp_path / "c.toml"
    path.write_text(
        f'[mqtt]\nurl = "mqtt://127.0.0.1:1"\n[outbox]\ndir = "{outbox}"\n[[device]]\nid = "a"\nregion = "r1"\n'
        f'unit = "u1"\nclass = "{device_class}"\ninterval_s = 10\ndriver = "csv"\n[device.csv]\npath = "a.csv"\n'
        f'time_column = "t"\ntime_format = "unix_s"\npace = "fast"\ncolumns = {columns}\n'
    )
    done = CliRunner().invoke(build(), ["edge", "--config", str(path), "--check", "--json"])
    return json.loads(done.stdout)
