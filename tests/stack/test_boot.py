"""The unit that starts the suite at boot: what it says, and what is done with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from local_ai_suite.cli import service
from local_ai_suite.errors import NotBuiltYet, StackError
from local_ai_suite.paths import Paths
from local_ai_suite.stack import boot

AWKWARD = ["plain", "with a space", "100%", "dol$lar ${HOME}", "a=b;c#d", "프로젝트"]


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a `systemctl` and a `loginctl` first on PATH that write down what they were asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    asked.touch()

    def make(*, fails: str = "", linger: str = "no") -> Path:
        (folder / "systemctl").write_text(
            f'#!/bin/sh\necho "$*" >>"{asked}"\n'
            'case "$*" in *is-enabled*) echo enabled;; *is-active*) echo inactive;; esac\n'
            + (f'case "$*" in *{fails}*) echo "no bus" >&2; exit 1;; esac\n' if fails else "")
        )
        (folder / "loginctl").write_text(f"#!/bin/sh\necho {linger}\n")
        for name in ("systemctl", "loginctl"):
            (folder / name).chmod(0o755)
        return asked

    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return make


def unit_of(paths: Paths, tmp_path: Path, *, root: bool = False) -> boot.Unit:
    return boot.unit_for(paths, "p1", root=root, environ={"HOME": str(tmp_path / "home")})


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("name", AWKWARD)
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path, name: str, root: bool) -> None:
    project = tmp_path / name
    program = project / ".venv" / "bin" / "lais"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    unit = unit_of(Paths(project, project / ".state"), tmp_path, root=root)
    file = tmp_path / unit.name
    file.write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not told
    assert done.returncode == 0, done.stderr


def test_root_s_unit_runs_as_the_project_s_owner(paths: Paths, tmp_path: Path) -> None:
    text = unit_of(paths, tmp_path, root=True).text
    assert ("User=" in text) is (paths.project.stat().st_uid != 0)
    if os.geteuid() == 0:
        os.chown(paths.project, 65534, 65534)
        assert "User=nobody\n" in unit_of(paths, tmp_path, root=True).text
    assert "User=" not in unit_of(paths, tmp_path).text


@pytest.mark.parametrize("name", ["two\nlines", 'quo"te', "apo'strophe", "back\\slash", "tab\t"])
def test_a_path_that_systemd_takes_for_no_program_is_refused(tmp_path: Path, name: str) -> None:
    project = tmp_path / name
    with pytest.raises(StackError, match="control characters"):
        unit_of(Paths(project, project / ".state"), tmp_path)


def test_a_phase_to_come_is_not_installed(paths: Paths) -> None:
    with pytest.raises(NotBuiltYet):
        boot.unit_for(paths, "p2", root=False, environ={})


def test_install_writes_the_unit_switches_it_on_and_uninstall_takes_it_back(
    paths: Paths, tmp_path: Path, systemctl: Callable[..., Path]
) -> None:
    asked = systemctl()
    unit = unit_of(paths, tmp_path)
    boot.install(unit, booted=tmp_path)
    assert unit.path == tmp_path / "home" / ".config" / "systemd" / "user" / unit.name
    assert unit.path.read_text() == unit.text
    found = boot.standing(unit, booted=tmp_path)
    assert found == boot.Standing(True, False, "enabled", "inactive", False)
    unit.path.write_text(unit.text + "# by a person\n")
    assert boot.standing(unit, booted=tmp_path).outdated
    assert boot.uninstall(unit, booted=tmp_path)
    assert not unit.path.exists()
    assert not boot.uninstall(unit, booted=tmp_path)
    done = [line for line in asked.read_text().splitlines() if "is-" not in line]
    assert done == [
        "--user daemon-reload", f"--user enable {unit.name}",
        f"--user disable {unit.name}", "--user daemon-reload",
    ]  # fmt: skip


def test_a_system_unit_is_the_system_manager_s(
    paths: Paths, tmp_path: Path, systemctl: Callable[..., Path]
) -> None:
    asked = systemctl()
    unit = replace(unit_of(paths, tmp_path, root=True), path=tmp_path / "etc" / "x.service")
    assert unit_of(paths, tmp_path, root=True).path.parent == Path("/etc/systemd/system")
    boot.install(unit, booted=tmp_path)
    assert "--user" not in asked.read_text()
    assert boot.standing(unit, booted=tmp_path).lingers is None


def test_a_systemctl_that_fails_is_told_with_what_to_do(
    paths: Paths, tmp_path: Path, systemctl: Callable[..., Path]
) -> None:
    systemctl(fails="daemon-reload")
    with pytest.raises(StackError, match="daemon-reload failed: no bus") as caught:
        boot.install(unit_of(paths, tmp_path), booted=tmp_path)
    assert "root" in caught.value.hint


def test_without_systemd_it_says_so_and_writes_nothing(paths: Paths, tmp_path: Path) -> None:
    unit = unit_of(paths, tmp_path)
    with pytest.raises(StackError, match="not run by systemd") as caught:
        boot.install(unit, booted=tmp_path / "absent")
    assert "wsl.conf" in caught.value.hint
    assert not unit.path.exists()
    assert boot.standing(unit, booted=tmp_path / "absent").enabled == ""


def test_the_command_shows_what_it_would_write_without_systemd(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    monkeypatch.setenv("HOME", str(paths.project))
    shown = CliRunner().invoke(service.service_command, ["install", "--print", "--json"])
    data = json.loads(shown.stdout)["data"]
    assert not data["written"]
    assert "ExecStart=" in data["unit"]
    assert str(paths.project) in data["unit"]
    assert not Path(data["path"]).exists()
    told = CliRunner().invoke(service.service_command, ["status"], standalone_mode=False)
    assert told.return_value == 1
    assert "does not start at boot" in told.stdout
