"""The engine service knows what its models' chat templates take."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.demo import ChatForm, Script, write_scripted_gguf
from local_ai_suite.engine.abilities import TemplateMemory
from local_ai_suite.settings import load_settings
from local_ai_suite.templates import Abilities
from local_ai_suite.wire.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine_service import Service
    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.paths import Paths

# As strict as Qwen3.5's: one system message, at the beginning.
STRICT = """
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}
{{- raise_exception('System message must be at the beginning.') }}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def strict_model(path: Path) -> Path:
    form = ChatForm(STRICT, end="<|im_end|>", control=("<|im_start|>",))
    return write_scripted_gguf(path, Script(form=form))


def test_a_loaded_models_template_is_told_and_still_known_when_it_is_unloaded(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    project = tmp_path / "strict"
    strict_model(project / "models" / "Strict.gguf")
    service = start(project, CHAT_MODEL="Strict.gguf")
    assert service.meta()["template"] is None
    assert service.chat().status_code == 200
    told = service.meta()["template"]
    assert told["system"] is True
    assert told["late_system"] is False
    assert service.running()["template"] == told
    service.client.post("/models/unload", json={"model": "local-chat"})
    assert service.meta()["template"] == told
    service.stop()
    again = start(project, CHAT_MODEL="Strict.gguf")
    assert again.meta()["template"] == told


@pytest.fixture
def entry(paths: Paths) -> ModelEntry:
    strict_model(paths.project / "models" / "Strict.gguf")
    return configured_models(load_settings(paths, environ={}), paths).default


def kept(folder: Path) -> dict[str, Any]:
    [file] = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_an_engine_that_dies_of_the_probes_is_not_asked_for_ever(
    entry: ModelEntry, tmp_path: Path
) -> None:
    asked = []

    async def dies(method: str, target: str, body: bytes) -> tuple[int, Any]:
        asked.append(target)
        raise UpstreamError("it is gone")

    async def story() -> None:
        for _ in range(4):  # each time a service that knows only what is on the disk
            assert await TemplateMemory(tmp_path / "t", "v1").learn(entry, dies) is None

    asyncio.run(story())
    assert len(asked) == 2
    assert kept(tmp_path / "t")["abilities"] is None


def test_a_template_is_asked_for_once_and_anew_for_another_engine(
    entry: ModelEntry, tmp_path: Path
) -> None:
    bodies = []

    async def echoes(method: str, target: str, body: bytes) -> tuple[int, Any]:
        bodies.append(body)
        return 200, {"prompt": body.decode()}

    async def story() -> list[Abilities | None]:
        memory = TemplateMemory(tmp_path / "t", "v1")
        return [await memory.learn(entry, echoes), await memory.learn(entry, echoes)]

    first, second = asyncio.run(story())
    assert first is not None
    assert first == second == TemplateMemory(tmp_path / "t", "v1").get(entry)
    assert len(bodies) == len(set(bodies))
    assert TemplateMemory(tmp_path / "t", "v2").get(entry) is None


def test_a_damaged_note_is_as_good_as_none(entry: ModelEntry, tmp_path: Path) -> None:
    async def echoes(method: str, target: str, body: bytes) -> tuple[int, Any]:
        return 200, {"prompt": body.decode()}

    asyncio.run(TemplateMemory(tmp_path / "t", "v1").learn(entry, echoes))
    [file] = (tmp_path / "t").glob("*.json")
    for damaged in ("", "[]", '{"abilities": {"system": 1}}', '{"abilities": 7}'):
        file.write_text(damaged)
        assert TemplateMemory(tmp_path / "t", "v1").get(entry) is None
