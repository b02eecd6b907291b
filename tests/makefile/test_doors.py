"""The Makefile, the workflow and the bootstrap: the doors before the doors."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        # Nothing of the `make test` around this one, its ARGS least of all.
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "ARGS"))}
        | environment,
        check=False,
    )


def test_make_alone_prints_every_documented_target() -> None:
    text = run("make").stdout
    documented = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"up-p1", "down", "status", "logs", "preflight", "test"} <= set(documented)
    for target in documented:
        assert f"make {target} " in text


def test_each_make_line_of_the_workflow_and_of_ci_is_a_target() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    lines = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    lines += re.findall(r"^tier \S+ (make \S+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    called = {line.split()[1] for line in lines if line.startswith("make ")}
    assert called
    assert called <= TARGETS


def test_each_make_target_that_the_readmes_name_exists() -> None:
    for name in ("README.md", "README.ko.md"):
        named = set(re.findall(r"`make ([a-z0-9-]+)", (ROOT / name).read_text()))
        assert named
        assert named <= TARGETS, name


def test_each_command_that_the_readmes_name_exists() -> None:
    from local_ai_suite.cli.main import VERBS

    for name in ("README.md", "README.ko.md"):
        text = (ROOT / name).read_text()
        named = set(re.findall(r"[`/]lais ([a-z-]+)", text)) - {"--help"}
        assert named
        assert named <= set(VERBS), name


def bare_project(folder: Path) -> Path:
    """What the bootstrap reads, in a folder of its own; its ``bootstrap.py``."""
    (folder / "scripts").mkdir()
    for name in ("scripts/bootstrap.py", "scripts/bootstrap.txt", "uv.lock", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder / "scripts" / "bootstrap.py"


def bootstrap_with_old_python(script: Path) -> subprocess.CompletedProcess[str]:
    """``script`` under a Python that is too old, on a machine that has no other."""
    words = (
        "import sys, runpy, shutil\n"
        "sys.version_info = (3, 9, 2)\n"
        "shutil.which = lambda name: None\n"
        f"sys.argv = [{str(script)!r}]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    return run(sys.executable, "-c", words)


def test_an_old_python_is_told_what_to_install(tmp_path: Path) -> None:
    done = bootstrap_with_old_python(bare_project(tmp_path))
    assert done.returncode == 2
    assert "Python 3.11 to 3.14 is needed" in done.stderr
    assert re.search("apt-get|dnf|brew|package manager", done.stderr)


def test_an_environment_is_not_made_anew_because_another_python_calls(tmp_path: Path) -> None:
    script = bare_project(tmp_path)
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    (place / "lais").touch()
    (place / "python").symlink_to(sys.executable)
    made_from = runpy.run_path(str(script))["fingerprint"](False)
    (tmp_path / ".venv" / ".made-from").write_text(made_from)
    done = bootstrap_with_old_python(script)
    assert (done.returncode, done.stderr) == (0, "")

    (place / "python").unlink()
    (place / "python").symlink_to(tmp_path / "a Python that was removed")
    done = bootstrap_with_old_python(script)
    assert done.returncode == 2
    (place / "python").unlink()
    (place / "python").symlink_to("/bin/sh")  # as after an upgrade behind the same link
    done = bootstrap_with_old_python(script)
    assert done.returncode == 2


def test_a_python_without_venv_is_told_the_package() -> None:
    script = (
        "import sys, runpy\n"
        "sys.modules['ensurepip'] = None\n"
        f"sys.argv = [{str(ROOT / 'scripts' / 'bootstrap.py')!r}]\n"
        "import os.path\n"
        "found = runpy.run_path(sys.argv[0])\n"
        "found['check_venv']()\n"
    )
    done = run(sys.executable, "-c", script)
    assert done.returncode == 2
    assert "lacks the module ensurepip" in done.stderr
    assert f"python{sys.version_info[0]}.{sys.version_info[1]}" in done.stderr


def test_the_bootstrap_can_be_read_by_an_old_python() -> None:
    import ast

    source = (ROOT / "scripts" / "bootstrap.py").read_text()
    ast.parse(source, feature_version=(3, 7))
    assert "f'" not in source
    assert 'f"' not in source


@pytest.mark.parametrize("phase", ["up-p2", "up-p3"])
def test_a_phase_to_come_says_so_and_fails(phase: str) -> None:
    done = run("make", "-s", phase)
    assert done.returncode != 0
    assert "not built yet" in done.stderr


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / ".cache").touch()  # as good as read-only, also for root
    script = (
        "import sys, runpy\n"
        f"sys.argv = [{str(tmp_path / 'scripts' / 'bootstrap.py')!r}]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    bare_project(tmp_path)
    done = run(sys.executable, "-c", script)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert ".cache" in done.stderr
    assert "writable" in done.stderr


def test_make_status_of_nothing_is_an_answer_and_no_error(tmp_path: Path) -> None:
    """make prints "*** Error" and ends with 2 for whatever code a command ends with."""
    place = {"LAIS_PROJECT": str(tmp_path), "LAIS_STATE": str(tmp_path / ".state")}
    done = run("make", "-s", "status", **place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing runs here" in done.stdout
    assert run(".venv/bin/lais", "status", **place).returncode == 1


def test_a_mistake_in_make_status_is_still_one() -> None:
    done = run("make", "-s", "status", "ARGS=--no-such-option")
    assert done.returncode == 2
    assert "no-such-option" in done.stderr
