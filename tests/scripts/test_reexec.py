"""The scripts find the project's environment from any Python, or say how to make one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SECONDS = 30  # a Python start on a busy machine


def system_python() -> str:
    """An interpreter outside the project's environment: the one that made it."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


def call(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [system_python(), str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LAIS_PROJECT": str(PROJECT)},
    )


def probe(folder: Path) -> Path:
    """A script that tells which environment it ended in."""
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts" / "_reexec.py", folder / "scripts")
    script = folder / "scripts" / "probe.py"
    script.write_text(
        "from _reexec import enter_environment\nenter_environment()\n"
        "import sys\nprint(sys.prefix, *sys.argv[1:])\n"
    )
    return script


def test_a_script_called_with_the_systems_python_goes_on_in_the_projects_environment(
    tmp_path: Path,
) -> None:
    script = probe(tmp_path)
    subprocess.run(
        [system_python(), "-m", "venv", "--without-pip", str(tmp_path / ".venv")],
        check=True,
        timeout=SECONDS,
    )
    (tmp_path / ".venv" / "bin" / "lais").touch()
    done = call(script, "two words", "--flag")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{tmp_path / '.venv'} two words --flag"


def test_without_an_environment_the_script_says_how_to_make_one(tmp_path: Path) -> None:
    done = call(probe(tmp_path))
    assert done.returncode == 3
    assert "make env" in done.stderr
    assert str(tmp_path / ".venv") in done.stderr
    assert done.stdout == ""


def test_half_an_environment_is_none(tmp_path: Path) -> None:
    """A download that broke off leaves a Python without the suite."""
    script = probe(tmp_path)
    subprocess.run(
        [system_python(), "-m", "venv", "--without-pip", str(tmp_path / ".venv")],
        check=True,
        timeout=SECONDS,
    )
    done = call(script)
    assert done.returncode == 3
    assert "make env" in done.stderr


def test_an_environment_that_leads_nowhere_does_not_loop(tmp_path: Path) -> None:
    script = probe(tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(system_python())
    (tmp_path / ".venv" / "bin" / "lais").touch()
    done = call(script)
    assert done.returncode == 3
    assert "no environment" in done.stderr
