"""``lais settings``: every setting, its value and where it was set."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from local_ai_suite.cli.output import json_option, show
from local_ai_suite.messages import say, tr, translated
from local_ai_suite.messages.width import ljust
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import KEYS, SECRET_KEYS, Settings, load_settings

_WIDTH = 40


@click.command()
@json_option
def settings_command(as_json: bool) -> int:
    """Every setting with its value and where it was set. Secrets are not shown."""
    settings = load_settings(find_paths())
    defaults = Settings()
    rows = []
    for key, name in KEYS.items():
        value = getattr(settings, name)
        rows.append(
            {
                "key": key,
                "value": say("(set, hidden)") if key in SECRET_KEYS and value else value,
                "source": settings.sources.get(key, tr("default")),
                "changed": value != getattr(defaults, name),
                "allowed": _allowed(name),
            }
        )
    lines = [
        f"{'*' if row['changed'] else ' '} {row['key']:<22} {ljust(_shown(row), _WIDTH)} "
        f"{translated(row['source'])}"
        for row in rows
    ]
    legend = say("* differs from the default. docs/reference/settings.md explains each.")
    text = "\n".join([*lines, "", legend])
    result = Result("settings", text, {"settings": rows}, warnings=settings.warnings)
    return show(result, as_json=as_json)


def _allowed(name: str) -> str:
    (found,) = (item for item in dataclasses.fields(Settings) if item.name == name)
    return str(found.metadata["reader"].allowed)


def _shown(row: dict[str, Any]) -> str:
    value = row["value"]
    if value is None:
        return "auto" if row["allowed"].startswith("auto") else "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "-"
    if isinstance(value, float):
        return f"{value:g} s"
    return str(value) or say("(empty)")
