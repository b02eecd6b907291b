"""Every generated page, by its place in docs/, and what makes it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from doc_pages import api, clients, command_line, decisions, models, settings, troubles

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"


@cache
def made() -> dict[str, str]:
    """Page's path below docs/ -> its whole text."""
    return {
        "guides/models.md": models.page(DOCS / "guides" / "models.md"),
        "reference/settings.md": settings.page(),
        "troubleshooting.md": troubles.page("en"),
        "troubleshooting.ko.md": troubles.page("ko"),
        "reference/errors.md": troubles.errors_page(),
        "reference/api.md": api.page(),
        "reference/cli.md": command_line.page(),
        "decisions/README.md": decisions.page(DOCS / "decisions"),
        **{f"clients/{name}": text for name, text in clients.pages().items()},
    }
