"""`hearthline site check`: a good site, one with ten mistakes, and none at all."""

import json
import os
from pathlib import Path

import pytest
import typer

from hearthline.cli import UsageError
from hearthline.site_dir import check_site, open_site, read_site
from models.site_files import SiteError
from tests.support.system import ended

SITE = """\
[site]
id = "harbour"
name = "Harbour heat"
timezone = "Asia/Shanghai"
[[region]]
id = "north"
name = "North"
[[unit]]
id = "plant-1"
region = "north"
name = "Plant 1"
[[network]]
id = "net-1"
unit = "plant-1"
name = "Network 1"
"""
DEVICES = """\
device,class,unit,network,mounting,interval_s,qp_m3_h
main,plant,plant-1,net-1,return,10,60
ss-001,substation,plant-1,net-1,return,10,6
"""
TEN_MISTAKES = {
    "site.toml": SITE.replace("Asia/Shanghai", "Mars/Olympus").replace(
        'region = "north"', 'region = "south"'
    ),
    "devices.csv": DEVICES
    + "a b,substation,plant-1,net-1,return,10\n"
    + "ss-002,boiler,plant-1,net-1,return,10\n"
    + "ss-003,substation,plant-9,net-1,return,10\n"
    + "ss-004,substation,plant-1,net-9,return,10\n"
    + "ss-005,substation,plant-1,net-1,sideways,10\n"
    + "ss-006,substation,plant-1,net-1,return,-10\n"
    + "ss-001,substation,plant-1,net-1,return,10\n"
    + "ss-007,substation,plant-1\n",
}
PLACES = {
    "site.toml": (4, 10), "devices.csv": (4, 5, 6, 7, 8, 9, 10, 11),
}  # fmt: skip


def write(directory: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (directory / name).write_bytes(data)
    return directory


def test_a_good_site(tmp_path: Path):
    write(tmp_path, {"site.toml": SITE, "devices.csv": DEVICES})
    result = ended("site", "check", str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Harbour heat: 1 regions, 1 units, 1 networks, 2 devices\n"
    summary = json.loads(ended("site", "check", str(tmp_path), "--json").stdout)
    assert summary["ok"] is True
    assert (summary["devices"], summary["streams"], summary["warnings"]) == (2, ["plant-1"], [])


def test_ten_mistakes_are_ten_lines(tmp_path: Path):
    write(tmp_path, TEN_MISTAKES)
    result = ended("site", "check", str(tmp_path))
    assert result.returncode == 2
    lines = result.stdout.splitlines()
    assert [tuple(line.split(":")[:2]) for line in lines] == [
        (file, str(number)) for file, numbers in PLACES.items() for number in numbers
    ]
    assert all(int(line.split(":")[2]) >= 1 for line in lines)
    faults = json.loads(ended("site", "check", str(tmp_path), "--json").stdout)
    assert faults["ok"] is False
    assert [f"{f['file']}:{f['line']}:{f['column']}: {f['message']}" for f in faults["faults"]] == lines


def test_warnings_do_not_fail(tmp_path: Path):
    devices = DEVICES.replace("interval_s", "interval_s,colour").replace("0,6", "0,red,6")
    write(tmp_path, {"site.toml": SITE, "devices.csv": devices, "device.csv": DEVICES, "notes.txt": ""})
    result = ended("site", "check", str(tmp_path))
    assert result.returncode == 0
    warnings = result.stderr.splitlines()
    assert len(warnings) == 2
    assert warnings[0].startswith("warning: device.csv:1:1: unknown file")
    assert warnings[1].startswith("warning: devices.csv:1:")
    assert "colour" in warnings[1]


RULES = """\
[[channel]]
id = "mail"
kind = "email"
url = "smtps://mail.example.org:465"
from = "alarms@example.org"
to = ["li@example.org"]
user = "alarms"
secret_env = "HEARTHLINE_TEST_SECRET_OF_NOBODY"
"""


def test_rules_for_alarms_are_read_as_a_start_reads_them(tmp_path: Path):
    write(tmp_path, {"site.toml": SITE, "devices.csv": DEVICES, "alerts.toml": RULES})
    assert ended("site", "check", str(tmp_path)).returncode == 0  # the server has the variable, not the desk
    wrong = RULES.replace('"email"', '"emial"') + '[[rule]]\ncodes = ["pumptrip"]\nroute = "ops"\n'
    write(tmp_path, {"alerts.toml": wrong})
    result = ended("site", "check", str(tmp_path))
    assert result.returncode == 2
    said = [line.split(": ")[:2] for line in result.stdout.splitlines()]
    assert said == [["alerts.toml:3:1", "kind"], ["alerts.toml:10:1", "codes"], ["alerts.toml:11:1", "route"]]
    faults = json.loads(ended("site", "check", str(tmp_path), "--json").stdout)["faults"]
    assert [(f["file"], f["line"]) for f in faults] == [("alerts.toml", n) for n in (3, 10, 11)]


def test_with_a_fault_in_the_registry_warnings_and_rules_are_told_too(tmp_path: Path):
    site = SITE.replace("Asia/Shanghai", "Mars/Olympus").replace(
        'name = "Harbour', 'timezon = "UTC"\nname = "Harbour'
    )
    rules = RULES.replace('"email"', '"emial"') + '[[rule]]\nscopes = ["unit:plant-1"]\n'
    write(tmp_path, {"site.toml": site, "devices.csv": DEVICES, "notes.csv": "", "alerts.toml": rules})
    result = ended("site", "check", str(tmp_path))
    assert result.returncode == 2
    assert [line.split(": ")[:2] for line in result.stdout.splitlines()] == [
        ["site.toml:5:1", "timezone"], ["alerts.toml:3:1", "kind"],
    ]  # fmt: skip
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["warning", "notes.csv:1:1"], ["warning", "site.toml:3:1"],
    ]  # fmt: skip
    told = json.loads(ended("site", "check", str(tmp_path), "--json").stdout)
    assert [(f["file"], f["line"]) for f in told["faults"]] == [("site.toml", 5), ("alerts.toml", 3)]
    assert [(f["file"], f["line"]) for f in told["warnings"]] == [("notes.csv", 1), ("site.toml", 3)]


def test_rules_in_another_encoding_are_a_fault_with_its_place(tmp_path: Path):
    rules = RULES.replace("[[channel]]", "# 换班\n[[channel]]", 1).encode("gbk")
    write(tmp_path, {"site.toml": SITE, "devices.csv": DEVICES, "alerts.toml": rules})
    result = ended("site", "check", str(tmp_path))
    told = "alerts.toml:1:3: expected text in UTF-8, got byte 0xbb, as in GBK: save the file as UTF-8"
    assert (result.returncode, result.stdout) == (2, f"{told} (in Excel: CSV UTF-8)\n")


def test_spreadsheets_leave_a_mark_at_the_beginning(tmp_path: Path):
    write(
        tmp_path,
        {"site.toml": b"\xef\xbb\xbf" + SITE.encode(), "devices.csv": b"\xef\xbb\xbf" + DEVICES.encode()},
    )
    assert set(read_site(tmp_path).devices) == {"main", "ss-001"}


def test_another_encoding_is_a_fault_beside_the_others(tmp_path: Path):
    devices = DEVICES.replace("mounting", "mounting,name").replace(",return,", ",sideways,换热站,", 1)
    write(tmp_path, {"site.toml": SITE, "devices.csv": devices.encode("gbk")})
    with pytest.raises(SiteError) as error:
        check_site(tmp_path)
    places = [(f.file, f.line) for f in error.value.faults]
    assert ("devices.csv", 2) in places
    assert any(f.message.startswith("expected text in UTF-8, got byte 0xbb") for f in error.value.faults)
    assert any(
        f.message.endswith(", as in GBK: save the file as UTF-8 (in Excel: CSV UTF-8)")
        for f in error.value.faults
    )
    assert any("sideways" in f.message for f in error.value.faults)


def test_what_is_in_no_encoding_that_we_know_is_not_called_gbk(tmp_path: Path):
    write(tmp_path, {"site.toml": SITE.encode() + b"# \xff\xff\n"})
    with pytest.raises(SiteError, match=r"got byte 0xff: save the file as UTF-8$"):
        check_site(tmp_path)


def test_no_site_is_one_clear_line(tmp_path: Path):
    result = ended("site", "check", str(tmp_path / "none"))
    assert result.returncode == 2
    assert result.stderr == (
        f"hearthline: site: expected a directory with site.toml, got {tmp_path / 'none'}: no such directory\n"
    )
    assert f"{tmp_path}: no site.toml in it" in ended("site", "check", str(tmp_path)).stderr


def test_a_directory_in_place_of_a_file_is_one_clear_line(tmp_path: Path):
    write(tmp_path, {"site.toml": SITE})
    (tmp_path / "devices.csv").mkdir()
    with pytest.raises(UsageError, match=r"^site: expected a readable .*devices.csv, got: Is a directory$"):
        check_site(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path):
    write(tmp_path, {"site.toml": SITE})
    (tmp_path / "site.toml").chmod(0)
    with pytest.raises(UsageError, match=r"^site: expected a readable .*site.toml, got: Permission denied$"):
        check_site(tmp_path)


def test_a_command_that_starts_ends_on_a_wrong_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path, TEN_MISTAKES)
    with pytest.raises(typer.Exit) as end:
        open_site(tmp_path)
    assert end.value.exit_code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 10
