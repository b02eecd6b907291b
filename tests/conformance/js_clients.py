"""The JavaScript SDKs: installed once under .cache/, run against one target at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targets import Target

SOURCES = Path(__file__).parent / "js"
TABLE = SOURCES / "outcomes.json"
HOME = Path(__file__).parents[2] / ".cache" / "conformance-js"
_INSTALL_S = 300
_RUN_S = 300


def outcomes() -> dict[str, dict[str, str]]:
    """By check and target, what is expected."""
    table: dict[str, dict[str, str]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table


def installed() -> Path:
    """The folder of the installed packages' programs, a Node of their own (22) among them."""
    HOME.mkdir(parents=True, exist_ok=True)
    lock, programs = "package-lock.json", HOME / "node_modules" / ".bin"
    old = (HOME / lock).read_bytes() if (HOME / lock).exists() and programs.exists() else b""
    for name in ("package.json", lock, "checks.mjs"):
        shutil.copy(SOURCES / name, HOME / name)
    if old != (SOURCES / lock).read_bytes():
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--silent"],
            cwd=HOME, check=True, timeout=_INSTALL_S,
        )  # fmt: skip
    return programs


def run(target: Target) -> dict[str, str]:
    """The outcome of every check of checks.mjs."""
    done = subprocess.run(
        [str(installed() / "node"), "--no-warnings", "checks.mjs", target.url, target.embed_url],
        cwd=HOME, check=True, timeout=_RUN_S, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout)
    return found
