"""Where things live.

Everything that the suite writes lies inside the project folder, so that deleting the folder
uninstalls it. The one exception: state whose safety needs private file modes and working locks,
when the project lies on a Windows drive mounted in WSL2 (``/mnt/c`` has neither).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_VARIABLE = "LAIS_PROJECT"
STATE_VARIABLE = "LAIS_STATE"
SETTINGS_VARIABLE = "LAIS_SETTINGS"

_PRIVATE_DIRECTORY = 0o700
_OTHERS = 0o077
# Filesystem types through which WSL2 shows Windows drives (`drvfs` is WSL1's name; WSL2 uses 9p,
# or virtiofs from WSL 2.0 on).
_WINDOWS_FILESYSTEMS = frozenset({"9p", "drvfs", "v9fs", "virtiofs"})


@dataclass(frozen=True, slots=True)
class Paths:
    """The project's folders. ``project`` and ``state`` are absolute.

    ``settings_file`` stands for ``.env`` where a running stack keeps the one it began with.
    """

    project: Path
    state: Path
    settings_file: Path | None = None

    @property
    def env_file(self) -> Path:
        """The project's settings."""
        return self.settings_file or self.project / ".env"

    @property
    def env_example(self) -> Path:
        """What a fresh ``.env`` is copied from."""
        return self.project / ".env.example"

    @property
    def models_toml(self) -> Path:
        """More models than ``.env`` names, and how each is loaded."""
        return self.project / "models.toml"

    @property
    def services(self) -> Path:
        """The services' configurations, in a folder each."""
        return self.project / "services"

    @property
    def gateway_config(self) -> Path:
        """The gateway's ``model_list``, in LiteLLM's format."""
        return self.services / "api-gateway" / "config.p1.yaml"

    @property
    def compose_dir(self) -> Path:
        """The folder of the Compose files."""
        return self.project / "docker"

    @property
    def cache(self) -> Path:
        """What can be made again at any time."""
        return self.project / ".cache"

    @property
    def logs(self) -> Path:
        """The folder of the services' logs."""
        return self.state / "logs"

    @property
    def run_file(self) -> Path:
        """What runs now, written by ``up`` and the supervisor."""
        return self.state / "run.json"

    @property
    def run_settings(self) -> Path:
        """The ``.env`` that the running stack began with."""
        return self.state / "run" / ".env"

    @property
    def keys_file(self) -> Path:
        """The gateway's named keys, hashed; in a folder that containers see too."""
        return self.state / "keys" / "keys.json"

    @property
    def responses_file(self) -> Path:
        """The gateway's stored responses."""
        return self.state / "gateway" / "responses.sqlite3"

    @property
    def lock_file(self) -> Path:
        """Held by whoever starts or stops the stack."""
        return self.state / "lock"

    @property
    def project_id(self) -> str:
        """Eight hex digits that tell two clones on one machine apart."""
        return hashlib.sha256(str(self.project).encode()).hexdigest()[:8]

    def ensure_state(self) -> Path:
        """Make the state folder and those in it that are always there, for their owner only.

        A state folder that others may look into is closed to them, if it is ours to close.
        """
        for folder in (self.state, self.logs, self.keys_file.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_DIRECTORY)
        with contextlib.suppress(OSError):
            if self.state.stat().st_mode & _OTHERS:
                self.state.chmod(_PRIVATE_DIRECTORY)
        return self.state


def find_paths(environ: dict[str, str] | None = None) -> Paths:
    """The project that this package serves: ``LAIS_PROJECT``, else the checkout it lies in.

    A wheel installed elsewhere uses the working directory.
    """
    env = os.environ if environ is None else environ
    if named := env.get(PROJECT_VARIABLE):
        project = expanded(named).resolve()
    else:
        checkout = Path(__file__).resolve().parents[2]
        project = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
    if named := env.get(STATE_VARIABLE):
        state = expanded(named).resolve()
    elif filesystem_type(project) in _WINDOWS_FILESYSTEMS:
        digest = hashlib.sha256(str(project).encode()).hexdigest()[:8]
        home = xdg_folder(env, "XDG_STATE_HOME", Path.home() / ".local" / "state")
        state = home / "local-ai-suite" / f"{project.name}-{digest}"
    else:
        state = project / ".state"
    named = env.get(SETTINGS_VARIABLE)
    return Paths(project=project, state=state, settings_file=Path(named) if named else None)


def expanded(text: str) -> Path:
    """``text`` with a leading ``~`` or ``~name`` as a home folder; as it is if that isn't known."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def xdg_folder(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    """The folder that an ``XDG_...`` variable names. A relative one is ignored, as its
    specification (freedesktop.org, basedir) demands: it would be another one in each folder.
    """
    named = Path(environ.get(variable, ""))
    return named if named.is_absolute() else default


def filesystem_type(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """The type of the filesystem that ``path`` lies on (``ext4``, ``9p``), ``None`` if unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = -1, None
    target = path.resolve()
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        mount = Path(fields[1].replace("\\040", " "))
        if (target == mount or mount in target.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), fields[2]
    return kind
