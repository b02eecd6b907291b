"""Starting the stack at boot, by systemd: the unit, where it lies, and whether it is switched on.

For a normal user a unit of that user, which needs "lingering" to run with nobody logged in; for
root one of the system, which runs the suite as the project's owner. The unit calls `lais up` and
`lais down`, so that what runs is what a person would have started.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.errors import StackError
from local_ai_suite.messages import tr
from local_ai_suite.paths import PROJECT_VARIABLE, STATE_VARIABLE, xdg_folder
from local_ai_suite.stack.phases import check_phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.paths import Paths

# sd_booted(3): systemd runs this machine if this is there.
BOOTED = Path("/run/systemd/system")
# `systemctl` answers in milliseconds; with a manager that hangs it waits for ever.
ASK_TIMEOUT_S = 30.0
# `up` has bounds of its own (a build of the images takes the longest), `down` as well.
START_MINUTES, STOP_MINUTES = 60, 3
_NOT_IN_A_PROGRAM = "\"'\\"

_UNIT = """\
# Made by `lais service install`; `lais service uninstall` removes it.
[Unit]
Description=Local AI Suite in {description}
After=network.target docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
# A disk with the models that is mounted late, a port that somebody still holds: that passes.
Restart=on-failure
RestartSec=30
{user}WorkingDirectory={folder}
Environment={project}
Environment={state}
ExecStart={program} up {phase}
ExecStop={program} down
TimeoutStartSec={start_minutes}min
TimeoutStopSec={stop_minutes}min

[Install]
WantedBy={wanted_by}
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file: its name for systemd, where it belongs, its text, and whether it is root's."""

    name: str
    path: Path
    text: str
    of_system: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What systemd has of a unit. ``enabled`` and ``active`` are its own words (``enabled``,
    ``inactive``), empty where there is no systemd; ``outdated``: another text lies there."""

    installed: bool
    outdated: bool
    enabled: str
    active: str
    lingers: bool | None  # None: a system unit, or nobody knows


def unit_for(paths: Paths, phase: str, *, root: bool, environ: Mapping[str, str]) -> Unit:
    """The unit that starts ``phase`` of this project. Raises as ``phases.check_phase`` does."""
    check_phase(phase)
    name = f"local-ai-suite-{paths.project_id}.service"
    if root:
        folder = Path("/etc/systemd/system")
    else:
        home = Path(environ.get("HOME", "~")).expanduser()
        folder = xdg_folder(environ, "XDG_CONFIG_HOME", home / ".config") / "systemd" / "user"
    owner = _owner(paths.project) if root else None
    text = _UNIT.format(
        description=_escaped(str(paths.project)),
        user=f"User={owner}\n" if owner else "",
        folder=_escaped(str(paths.project)),
        project=_quoted(f"{PROJECT_VARIABLE}={paths.project}"),
        state=_quoted(f"{STATE_VARIABLE}={paths.state}"),
        program=_quoted(str(paths.project / ".venv" / "bin" / "lais")),
        phase=phase,
        start_minutes=START_MINUTES,
        stop_minutes=STOP_MINUTES,
        wanted_by="multi-user.target" if root else "default.target",
    )
    return Unit(name, folder / name, text, root)


def _owner(project: Path) -> str | None:
    """Whose the project is, if not root's."""
    uid = project.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name if uid else None
    except KeyError:
        return str(uid)


def _escaped(text: str) -> str:
    """``%`` begins one of systemd's specifiers (systemd.unit(5)).

    Raises :class:`StackError` for a path that systemd takes for no program.
    """
    if not text.isprintable() or any(char in text for char in _NOT_IN_A_PROGRAM):
        raise StackError(
            tr(
                "systemd starts no program whose path has quotes, backslashes or control characters"
            ),
            hint=tr("Move the project to a folder with an ordinary name."),
        )
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a command line or an assignment (systemd.syntax(7))."""
    return f'"{_escaped(text)}"'


def install(unit: Unit, *, booted: Path = BOOTED) -> None:
    """Write the unit and switch it on for the next boot. Raises :class:`StackError`."""
    _check_systemd(booted)
    unit.path.parent.mkdir(parents=True, exist_ok=True)
    unit.path.write_text(unit.text, encoding="utf-8")
    _systemctl(unit, "daemon-reload")
    _systemctl(unit, "enable", unit.name)


def uninstall(unit: Unit, *, booted: Path = BOOTED) -> bool:
    """Switch the unit off and remove it; ``False`` when it was not there. What runs goes on.

    Raises :class:`StackError`.
    """
    if not unit.path.exists():
        return False
    if booted.is_dir():
        _systemctl(unit, "disable", unit.name)
    unit.path.unlink()
    if booted.is_dir():
        _systemctl(unit, "daemon-reload")
    return True


def standing(unit: Unit, *, booted: Path = BOOTED) -> Standing:
    """What systemd has of the unit now."""
    installed = unit.path.is_file()
    outdated = installed and unit.path.read_text(encoding="utf-8", errors="replace") != unit.text
    if not booted.is_dir() or shutil.which("systemctl") is None:
        return Standing(installed, outdated, "", "", None)
    words = {
        verb: _ask(unit, verb, unit.name).stdout.strip() for verb in ("is-enabled", "is-active")
    }
    lingers = None if unit.of_system else _lingers()
    return Standing(installed, outdated, words["is-enabled"], words["is-active"], lingers)


def _lingers() -> bool | None:
    """Whether this user's units run with nobody logged in; ``None`` when nobody knows."""
    try:
        done = subprocess.run(
            ["loginctl", "show-user", str(os.geteuid()), "--property=Linger", "--value"],
            capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def _check_systemd(booted: Path) -> None:
    if not booted.is_dir() or shutil.which("systemctl") is None:
        raise StackError(
            tr("this machine is not run by systemd, so there is nothing to install"),
            hint=tr(
                "In WSL2: [boot] systemd=true in /etc/wsl.conf, then `wsl --shutdown` in Windows. "
                "Elsewhere let what starts programs at boot run `.venv/bin/lais up`."
            ),
        )


def _systemctl(unit: Unit, *words: str) -> None:
    done = _ask(unit, *words)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise StackError(
            tr(
                "systemctl {words} failed: {said}",
                words=" ".join(words),
                said=said[-1] if said else done.returncode,
            ),
            hint=tr(
                "Log in as this user (not with su or sudo: systemd gives a user its own manager at "
                "login), or run it as root for a unit of the system."
            ),
        )


def _ask(unit: Unit, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["systemctl", *([] if unit.of_system else ["--user"]), *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return subprocess.CompletedProcess(command, 1, "", str(exc))
