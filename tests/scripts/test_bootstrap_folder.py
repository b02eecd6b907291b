"""What making the environment leaves on a machine: all of it lies in the project's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Stands where uv is installed, and tells what it was given.
UV = """#!/bin/sh
printf '%s\\n' "$TMPDIR" "$UV_CACHE_DIR" "$UV_PROJECT_ENVIRONMENT" >"$0.told"
mkdir -p "$UV_PROJECT_ENVIRONMENT"
[ -d "$TMPDIR" ]
"""


def test_the_installer_writes_into_the_projects_folder_only(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    for name in ("uv.lock", "pyproject.toml"):
        shutil.copy(SCRIPTS.parent / name, tmp_path / name)
    uv = tmp_path / ".cache" / "bootstrap" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(UV)
    uv.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "scripts" / "bootstrap.py")],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "TMPDIR": "/elsewhere"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = uv.with_name("uv.told").read_text().splitlines()
    assert len(told) == 3
    assert all(Path(folder).is_relative_to(tmp_path) for folder in told), told
