"""The engine with a real model's template, one at a time."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import pytest
from template_engine import ANSWER_SECONDS, TemplateEngine

import real_templates
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


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
