"""`hearthline demo` where it cannot begin."""

from __future__ import annotations

import subprocess
import sys

from tests.support.waiting import PATIENCE_S


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
