"""The rooms keep their walls, and the contracts that say so can fail."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
PURE = ("models", "streams/core", "streams/operators")


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-logo", "--no-cache"],
        cwd=directory, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(directory)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rooms by themselves, to be broken."""
    directory = tmp_path_factory.mktemp("house")
    for room in ROOMS:
        shutil.copytree(ROOT / room, directory / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


def test_every_folder_of_code_is_a_room_under_contract():
    folders = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert folders == set(ROOMS)
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == folders
    assert set(config["tool"]["pytest"]["ini_options"]["testpaths"]) == {*folders, "tests"}
    assert set(config["tool"]["mypy"]["packages"]) == {*folders, "benchmarks"}


def test_contracts_are_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_operators_do_not_load_what_a_heat_network_never_needs():
    """`scipy.stats` and `scipy.optimize` take 32 MB and half a second of each server, worker and replay."""
    code = (
        "import sys; from streams.core.operator import discovered; discovered()\n"
        "print([m for m in ('scipy.stats', 'scipy.optimize') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


VIOLATIONS = {
    "models": ("models/broken.py", "import store.protocol"),
    "edge": ("edge/broken.py", "from models.frame import Frame"),
    "edge-small": ("edge/broken.py", "import numpy"),
    "simulator": ("simulator/broken.py", "import journal.protocol"),
    "journal": ("journal/broken.py", "import ingest"),
    "ingest": ("ingest/broken.py", "import store.protocol"),
    "streams": ("streams/operators/broken.py", "import simulator"),
    "streams-pure": ("streams/core/broken.py", "import journal.protocol"),
    "store": ("store/broken.py", "import streams"),
    "alerts": ("alerts/broken.py", "import streams"),
    "dashboards": ("dashboards/broken.py", "import streams.core"),
    "pure": ("models/broken.py", "from time import monotonic"),
}


def test_every_contract_can_fail(copy: Path):
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {c["id"]: c["name"] for c in config["tool"]["importlinter"]["contracts"]}
    assert set(names) == set(VIOLATIONS)
    broken: dict[str, list[str]] = {}
    for path, line in VIOLATIONS.values():
        broken.setdefault(path, []).append(line)
    for path, lines in broken.items():
        (copy / path).write_text("\n".join(lines) + "\n")
    result = lint_imports(copy)
    assert result.returncode == 1, result.stdout + result.stderr
    kept = [name for name in names.values() if f"{name} BROKEN" not in result.stdout]
    assert not kept, result.stdout


def test_the_ban_on_clocks_and_files_is_whole():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pure = next(c for c in config["tool"]["importlinter"]["contracts"] if c["id"] == "pure")
    clocks, chance = {"asyncio", "time"}, {"random"}
    outside = {"duckdb", "faust", "influxdb_client", "logging", "paho", "socket", "sqlite3"}
    assert set(pure["forbidden_modules"]) == clocks | chance | outside
    assert pure["source_modules"] == [room.replace("/", ".") for room in PURE]


def test_pure_rooms_use_four_libraries():
    graph = grimp.build_graph(*ROOMS, include_external_packages=True, cache_dir=None)
    allowed = {"numpy", "scipy", "pydantic", "pydantic_core", "pyarrow", *ROOMS, *sys.stdlib_module_names}
    pure = tuple(room.replace("/", ".") for room in PURE)
    for module in sorted(graph.modules):
        if not (module.startswith(tuple(p + "." for p in pure)) or module in pure):
            continue
        used = {name.split(".")[0] for name in graph.find_modules_directly_imported_by(module)}
        assert used <= allowed, f"{module} imports {sorted(used - allowed)}"
        if module == "models.wire":
            assert used <= {"pydantic", *sys.stdlib_module_names}, f"models.wire imports {sorted(used)}"


def impure(call: ast.Call) -> str:
    """What `call` does that a pure room may not; empty if nothing."""
    if isinstance(call.func, ast.Name):
        return "input or output" if call.func.id in {"open", "print", "input"} else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    name, owner = call.func.attr, ast.unparse(call.func.value)
    if name in {"read_text", "read_bytes", "write_text", "write_bytes"}:
        return "input or output"
    if name in {"utcnow", "today"} or (name == "now" and owner.endswith(("datetime", "dt"))):
        return "reads the clock"
    if name == "default_rng" and not call.args and not call.keywords:
        return "a generator without a seed"
    return ""


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_read_no_clock_and_open_nothing(room: str):
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (why := impure(node)):
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}: {why}")


@pytest.mark.parametrize(
    ("text", "pure"),
    [
        ("open('x')", False), ("path.read_text()", False), ("datetime.now(UTC)", False),
        ("np.random.default_rng()", False), ("np.random.default_rng(7)", True), ("stream.now()", True),
    ],
)  # fmt: skip
def test_the_eye_for_impurity_sees(text: str, pure: bool):
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert (impure(call) == "") is pure


COLLECTOR = """
import sys
import hearthline.cli
hearthline.cli.build()
import pkgutil, importlib, edge
for module in pkgutil.walk_packages(edge.__path__, "edge."):
    importlib.import_module(module.name)
heavy = {"numpy", "pyarrow", "scipy", "duckdb", "nicegui", "faust", "influxdb_client", "fastapi", "amqtt"}
print(",".join(sorted(heavy & set(sys.modules))))
"""


def test_command_line_and_edge_load_nothing_heavy():
    command = [sys.executable, "-c", COLLECTOR]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert result.stdout.strip() == ""


def test_edge_and_command_line_run_on_the_base_install_alone():
    """What the collector imports is among the base dependencies, not only in the extras."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {
        "paho-mqtt": "paho",
        "pydantic": "pydantic",
        "pydantic-settings": "pydantic_settings",
        "typer": "typer",
    }
    names = {requirement.split(">")[0].split("=")[0] for requirement in config["project"]["dependencies"]}
    assert set(declared) <= names
    graph = grimp.build_graph(*ROOMS, include_external_packages=True, cache_dir=None)
    allowed = {*declared.values(), *ROOMS, *sys.stdlib_module_names}
    for module in sorted(graph.modules):
        if module.split(".")[0] == "edge" or module in {
            "models.wire",
            "hearthline.cli",
            "hearthline.settings",
        }:
            used = {name.split(".")[0] for name in graph.find_modules_directly_imported_by(module)}
            assert used <= allowed, f"{module} imports {sorted(used - allowed)}, which the base install lacks"
