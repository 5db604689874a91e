"""What README and docs/ say is so."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from hearthline.settings import Settings
from models import site
from models.measurements import CLASSES, Kind, known
from tests.support.commands import command_paths
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def fences(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def tracked() -> list[Path]:
    """Every file that git knows or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout, so what belongs to the project cannot be told")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_readme_gives_two_commands_and_gives_them_first():
    commands = fences(README)
    assert len(commands) == 2
    first_screen = README.split("\n## ")[0]
    assert fences(first_screen) == commands
    assert len(first_screen.splitlines()) < 40
    demo, test = (command.strip() for command in commands)
    setup = "python3 -m venv .venv && .venv/bin/pip install -q -c requirements.lock -e "
    assert demo == f"{setup}'.[server]' && .venv/bin/hearthline demo"
    assert test == f"{setup}'.[test]' && .venv/bin/pytest"


def test_readme_shows_the_board():
    assert re.search(r"!\[[^\]]{20,}\]\(docs/board\.png\)", README.split("\n## ")[0])


def test_ci_runs_the_command_of_the_readme():
    script = (ROOT / ".ci/run").read_text()
    function = re.search(r"readme_test_command\(\) \{\n(.*?)\n\}", script, flags=re.DOTALL)
    assert function
    done = subprocess.run(
        ["bash", "-c", function[1]], timeout=PATIENCE_S, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == fences(README)[1]
    assert "requirements.lock" not in script
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_named_exists(document: Path):
    commands = command_paths()
    firsts = {path.split()[0] for path in commands}
    for code in re.findall(r"`([^`\n]*)`", document.read_text(encoding="utf-8")):
        words = code.split()
        if not words or words[0] not in {"hearthline", ".venv/bin/hearthline"} or len(words) < 2:
            continue
        if words[1].startswith("-"):
            continue
        assert words[1] in firsts, f"{document.name} names `{code}`"
        if words[1] not in commands:
            assert f"{words[1]} {words[2]}" in commands, f"{document.name} names `{code}`"


def test_protocol_names_every_command():
    rows = " ".join(re.findall(r"^\| `hearthline ([^`]+)`", PROTOCOL, flags=re.MULTILINE))
    for path in command_paths():
        group, _, name = path.partition(" ")
        assert path in rows or (group in rows and f"`{name}`" in PROTOCOL), f"docs/protocol.md lacks {path}"


def test_protocol_lists_the_measurements_of_each_class():
    for device_class, names in CLASSES.items():
        row = re.search(rf"^\| `{device_class}` \| (.*) \|$", PROTOCOL, flags=re.MULTILINE)
        assert row, f"docs/protocol.md lacks {device_class}"
        listed = row[1].replace(
            "outdoor_1h_c … outdoor_72h_c", " ".join(f"outdoor_{h}h_c" for h in range(1, 73))
        )
        marks = {Kind.COUNTER: "(c)", Kind.TEXT: r"\*", Kind.GAUGE: ""}
        assert listed.split() == [name + marks[known[name].kind] for name in names]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("devices.csv", site.Device), ("pipes.csv", site.Pipe), ("places.csv", site.Place),
        ("contracts.csv", site.Contract), ("vehicles.csv", site.Vehicle),
    ],
)  # fmt: skip
def test_protocol_lists_the_columns_of_the_site(file: str, kind: type):
    row = re.search(rf"^\| `{file}` \| (.*) \|$", PROTOCOL, flags=re.MULTILINE)
    assert row
    fields = [f.replace("device_class", "class") for f in kind.__dataclass_fields__]
    assert row[1].split(", ") == fields


def test_protocol_lists_the_settings():
    listed = PROTOCOL[PROTOCOL.index("\n## Settings") :]
    for name, field in Settings.model_fields.items():
        assert f"`{name}`" in listed, f"docs/protocol.md lacks {name}"
        if isinstance(field.default, str | int):
            assert f"`{field.default}`" in listed, f"docs/protocol.md lacks the default of {name}"


def test_decisions_are_numbered_and_under_a_page():
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [int(f.name[:4]) for f in files]
    assert len(set(numbers)) == len(numbers), "a number is given once; one that was given up stays free"
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(file.name[:4])}. ")
        assert all(part in text for part in ("**Context.**", "**Decision.**", "**Consequence.**")), file.name
        assert len(text.split()) < 400, file.name


# Written in parts, so that this file does not hold them.
FORBIDDEN = [
    "/wo" + "rk/", "../sha" + "red", "pypi" + ".org", "files.python" + "hosted", "registry.npm" + "js",
]  # fmt: skip


def test_the_project_names_no_workplace_and_no_registry_host():
    for path in tracked():
        data = path.read_bytes()
        if b"\0" in data:
            continue
        text = data.decode("utf-8", errors="replace")
        for word in FORBIDDEN:
            if word == "../sha" + "red" and path == ROOT / ".ci/run":
                continue  # where CI keeps its recordings
            assert word not in text, f"{path.relative_to(ROOT)} holds {word!r}"


def test_no_recording_is_part_of_the_project():
    for path in tracked():
        assert path.stat().st_size < 2_000_000, f"{path.relative_to(ROOT)} is large"
    names = {p.name for p in tracked()}
    recorded = set(re.findall(r"`\w+/(\w+\.\w+)`", (ROOT / "docs/recordings.md").read_text(encoding="utf-8")))
    assert len(recorded) >= 8
    assert not names & recorded


def test_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert len(text.splitlines()) > 190


def lock() -> dict[str, Version]:
    pinned = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+-]+)", line)
        assert match, f"requirements.lock: expected name==version alone, got {line!r}"
        pinned[canonicalize_name(match[1])] = Version(match[2])
    return pinned


def test_lock_pins_everything_that_is_asked_for():
    pinned = lock()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    asked += project["optional-dependencies"]["test"]
    for text in asked:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "hearthline" or (requirement.marker and not requirement.marker.evaluate()):
            continue
        assert name in pinned, f"requirements.lock lacks {name}; CONTRIBUTING.md says how to refresh it"
        assert requirement.specifier.contains(pinned[name], prereleases=True), text
