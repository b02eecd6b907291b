"""The engine with a real model's template, one at a time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import real_templates
from local_ai_suite.templates import PROBES, Abilities, conclude
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

ANSWER_SECONDS = 30.0


class TemplateEngine:
    """llama.cpp's server with one real template in a scripted model."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def render(self, body: dict[str, Any]) -> tuple[int, str]:
        """``/apply-template``: the status, and the prompt or the engine's reason."""
        answer = self.client.post("/apply-template", json=body)
        said = answer.json()
        if answer.status_code == 200:
            return 200, said["prompt"]
        return answer.status_code, said["error"]["message"]

    def abilities(self) -> Abilities:
        """What the probes show of this template."""
        prompts: dict[str, str | None] = {}
        for name, probe in PROBES.items():
            status, text = self.render(probe.body())
            prompts[name] = text if status == 200 else None
        found = conclude(prompts)
        assert found is not None
        return found


@pytest.fixture(scope="session")
def sources() -> Path:
    return real_templates.sources()


@pytest.fixture
def real_engine(
    sources: Path, tmp_path: Path
) -> Callable[[str], AbstractContextManager[TemplateEngine]]:
    """Start the engine with the template of this name."""

    @contextlib.contextmanager
    def start(name: str) -> Iterator[TemplateEngine]:
        model = real_templates.write_gguf(name, tmp_path / f"{name}.gguf")
        try:
            with (
                engine(model) as running,
                httpx.Client(base_url=running.url, timeout=ANSWER_SECONDS) as client,
            ):
                yield TemplateEngine(client)
        finally:
            model.unlink()

    return start
