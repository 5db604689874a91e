"""A collector as a single file: ``python -m tools.collector_zipapp --out dist/hearthline-edge.pyz``.

Takes what a collector needs of this project and of the environment that this runs in, at the versions
installed there, and packs it with shiv, which unpacks it at the first start (into ``SHIV_ROOT``, else the
user's home): part of it is compiled, and cannot be loaded from an archive. The file runs on the kind of
machine and Python that it was made on; for another, run this there.
"""

# ruff: noqa: INP001, S603, T201  a script, not part of a package; it runs what is installed, and prints

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
OWN = (
    "edge",
    "models/__init__.py",
    "models/measurements.py",
    "models/wire.py",
    "models/sqlite_pages.py",
    "models/sqlite_wal.py",
    "hearthline/__init__.py",
    "hearthline/__main__.py",
    "hearthline/cli.py",
    "hearthline/commands/__init__.py",
    "hearthline/commands/edge.py",
    "hearthline/stopping.py",
    "hearthline/unheard.py",
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = sorted({"serial", *Requirement(PROJECT["optional-dependencies"]["drivers"][0]).extras})


def needed(texts: Iterable[str], extras: set[str], found: dict[str, metadata.Distribution]) -> None:
    """Add to `found` the distributions that requirements name, and what those require."""
    for text in texts:
        wanted = Requirement(text)
        environments = [{"extra": extra} for extra in ("", *extras)]
        if wanted.marker is not None and not any(wanted.marker.evaluate(e) for e in environments):
            continue
        key = wanted.name.lower().replace("_", "-")
        if key == PROJECT["name"]:
            for extra in wanted.extras:
                needed(PROJECT["optional-dependencies"][extra], set(), found)
        elif key not in found:
            found[key] = metadata.distribution(wanted.name)
            needed(metadata.requires(wanted.name) or (), set(wanted.extras), found)


def files_of(distribution: metadata.Distribution) -> Iterator[tuple[Path, str]]:
    """Where each file of a distribution lies, and its place in an archive; no programs, no caches."""
    for file in distribution.files or ():
        place = str(file)
        if not place.startswith("..") and "__pycache__" not in place:
            yield Path(str(distribution.locate_file(file))), place


def gather(staging: Path, extras: set[str]) -> list[str]:
    """Copy everything to `staging`; returns names and versions."""
    found: dict[str, metadata.Distribution] = {}
    needed(PROJECT["dependencies"], set(), found)
    for extra in sorted(extras):
        needed(PROJECT["optional-dependencies"][extra], set(), found)
    for distribution in found.values():
        for source, place in files_of(distribution):
            (staging / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, staging / place)
    for place in OWN:
        if (ROOT / place).is_dir():
            shutil.copytree(ROOT / place, staging / place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (staging / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / place, staging / place)
    return sorted(f"{d.name} {d.version}" for d in found.values())


def main() -> None:
    """Build the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "hearthline-edge.pyz")
    parser.add_argument("--python", default="/usr/bin/env python3", help="what runs it, for its first line")
    parser.add_argument(
        "--extra", action="append", choices=EXTRAS, help="libraries of a driver; all unless given"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        staging = Path(name)
        packed = gather(staging, set(options.extra or EXTRAS))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *(sys.executable, "-m", "shiv", "--site-packages", name, "--entry-point", "hearthline.cli:main"),
            *("--compressed", "--reproducible", "--python", options.python),
            *("--output-file", str(options.out)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"shiv failed: {done.stdout}{done.stderr}")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB with {', '.join(packed)}")


if __name__ == "__main__":
    main()
