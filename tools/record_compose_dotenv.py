"""Ask the real Docker Compose how it reads each case of tests/settings/dotenv_cases.py.

    python tools/record_compose_dotenv.py     writes tests/settings/dotenv_recorded.json

The recorded table lets the fast tests compare without Compose; the docker tier asks Compose again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RECORDED = PROJECT / "tests" / "settings" / "dotenv_recorded.json"
sys.path[:0] = [str(PROJECT / "tests" / "settings"), str(PROJECT / "tools")]

COMPOSE_SECONDS = 30  # it answers in about 50 ms


def candidate_keys(text: str, environ: dict[str, str]) -> list[str]:
    """Every word of ``text`` that could be a key, and the environment's."""
    words = re.findall(r"[\w.\-\[\]]+", text)
    line_starts = re.findall(r"^\s*([\w.\-\[\]\t]+?)\s*[=:]", text, re.MULTILINE)
    return sorted({*words, *line_starts, *environ})


def ask_compose(compose: Path, text: str, environ: dict[str, str]) -> dict[str, Any]:
    """``{"values": {key: text}}`` of the keys that Compose knows, or ``{"error": its words}``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".env").write_bytes(text.encode())
        keys = candidate_keys(text, environ)
        service = {"image": "x", "environment": keys}
        (folder / "compose.yml").write_text(json.dumps({"name": "t", "services": {"s": service}}))
        answer = subprocess.run(
            [compose, "-f", "compose.yml", "config", "--format", "json"],
            check=False, cwd=folder, env=environ, capture_output=True, timeout=COMPOSE_SECONDS,
        )  # fmt: skip
    if answer.returncode:
        return {"error": answer.stderr.decode(errors="replace").strip().splitlines()[-1]}
    values = json.loads(answer.stdout)["services"]["s"].get("environment") or {}
    # `config` writes each dollar twice, so that its output is a Compose file again.
    return {
        "values": {
            key: value.replace("$$", "$") for key, value in values.items() if value is not None
        }
    }


def main() -> None:
    from dotenv_cases import CASES  # noqa: PLC0415

    from compose_plugin import find_compose  # noqa: PLC0415

    compose = find_compose()
    version = subprocess.run(
        [compose, "version", "--short"], capture_output=True, text=True, check=True, timeout=30
    ).stdout.strip()
    table = [
        {"name": name, "text": text, "environ": environ, **ask_compose(compose, text, environ)}
        for name, text, environ in CASES
    ]
    for row in table:  # the folder was temporary: its path would change the file each time
        if "error" in row:
            row["error"] = re.sub(r"read \S+/\.env", "read .env", row["error"])
    body = json.dumps({"compose": version, "cases": table}, ensure_ascii=False, indent=1)
    RECORDED.write_text(body + "\n", encoding="utf-8")
    print(f"{len(table)} cases recorded from Compose {version}")


if __name__ == "__main__":
    main()
