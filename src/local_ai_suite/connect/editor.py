"""What the table says about one client."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .path import Edit

if TYPE_CHECKING:
    from .formats import Format
    from .serving import Endpoint

Protocol = Literal["chat", "responses", "messages"]
# Clients whose setup changes a whole configuration file answer "what goes in" with these.
Edits = Callable[["Endpoint"], list[Edit]]


@dataclass(frozen=True, slots=True)
class Home:
    """Where a person's files are. ``windows``: their Windows profile, seen from WSL2."""

    folder: Path
    environ: Mapping[str, str]
    windows: Path | None = None

    @property
    def config(self) -> Path:
        """``XDG_CONFIG_HOME``."""
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.folder / ".config")

    @classmethod
    def here(cls, environ: Mapping[str, str] | None = None, mounts: Path = Path("/mnt")) -> Home:
        """This user's home, with the Windows profile beside it in WSL2. ``environ``: the process's
        if ``None``; ``mounts``: where Windows' drives lie."""
        env = os.environ if environ is None else environ
        return cls(Path(env.get("HOME") or Path.home()), env, windows_profile(env, mounts))


def windows_profile(environ: Mapping[str, str], mounts: Path) -> Path | None:
    """The Windows user's folder under WSL2, ``None`` elsewhere or when it is not sure which."""
    if "WSL_DISTRO_NAME" not in environ:
        return None
    users = sorted(mounts.glob("[a-z]/Users/*/AppData/Roaming"))
    named = environ.get("USERPROFILE_NAME") or environ.get("USER", "")
    own = [path for path in users if path.parents[1].name.lower() == named.lower()]
    found = own or [p for p in users if p.parents[1].name not in {"Public", "Default", "All Users"}]
    return found[0].parents[1] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client will send its requests. ``model`` ``None``: it keeps another default."""

    base_url: str
    model: str | None


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file to change: its format, and where it may lie.

    One file: the first of the places that is there, else the first. With ``everywhere`` (editors
    with profiles, or on both sides of WSL2) every place whose folder is there, else the first.
    """

    format: Format
    places: Callable[[Home], list[Path]]
    edits: Edits
    # Why this file must not be touched (a newer schema), or None.
    check: Callable[[Any], str | None] = lambda _: None
    # Reads back what the proof shall use; None for a file that names no address.
    target: Callable[[Any], Target] | None = None
    everywhere: bool = False

    def paths(self, home: Home) -> list[Path]:
        places = self.places(home)
        if self.everywhere:
            return [place for place in places if place.parent.is_dir()] or [places[0]]
        return [next((place for place in places if place.exists()), places[0])]


@dataclass(frozen=True, slots=True)
class Launch:
    """How a terminal client starts with nothing written: its command, arguments, environment."""

    command: str
    environment: Callable[[Endpoint, str], dict[str, str]]
    arguments: Callable[[Endpoint], list[str]] = lambda _: []


@dataclass(frozen=True, slots=True)
class Editor:
    """One row of the table. ``found_by``: commands on PATH; ``folders``: of its configuration."""

    id: str
    name: str
    page: str
    found_by: tuple[str, ...] = ()
    folders: Callable[[Home], list[Path]] = lambda _: []
    protocol: Protocol = "chat"
    files: tuple[ConfigFile, ...] = ()
    launch: Launch | None = None
    # Its makers' servers make the calls: it needs a public address.
    needs_tunnel: bool = False
    # Set by hand in the client's own window, or printed: lines with the values filled in.
    steps: Callable[[Endpoint], list[str]] | None = None
    # What its user has to know.
    notes: tuple[str, ...] = ()
    tools: bool = True
    fim: bool = False
    install: str = ""
    # A screenshot in docs/clients, made by the tier of real clients.
    picture: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
