"""``.env.example`` and docs/reference/settings.md say what the code reads, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest

from doc_pages.settings import read_example
from local_ai_suite.paths import Paths
from local_ai_suite.settings import KEYS, Settings, dotenv, load_settings

PROJECT = Path(__file__).resolve().parents[2]

TEXT = (PROJECT / ".env.example").read_text(encoding="utf-8")
BLOCKS = read_example(TEXT)
DOCUMENTED = [key for block in BLOCKS for key, _, _ in block.settings]


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_documented(key: str) -> None:
    assert key in DOCUMENTED, f"explain {key} in .env.example"


@pytest.mark.parametrize("key", sorted(set(DOCUMENTED)))
def test_every_documented_setting_is_read(key: str) -> None:
    assert key in KEYS, f"{key} in .env.example is not a setting"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.settings[0][0])
def test_every_setting_is_explained(block) -> None:
    assert len(block.words.split()) >= 5


def test_the_example_switches_on_exactly_the_defaults(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(TEXT, encoding="utf-8")
    settings = load_settings(Paths(project=tmp_path, state=tmp_path), environ={})
    assert settings == Settings()
    assert settings.warnings == ()
    on = dotenv.parse(TEXT, {})
    assert set(on) == {key for block in BLOCKS for key, _, is_on in block.settings if is_on}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for block in BLOCKS for key, value, is_on in block.settings if not is_on],
)
def test_every_example_is_allowed(tmp_path: Path, key: str, value: str) -> None:
    load_settings(Paths(project=tmp_path, state=tmp_path), environ={key: value})


def test_the_models_of_the_specification_stand_as_examples() -> None:
    for line in (
        "#CHAT_MODEL=Qwen2.5-3B-Instruct-Q4_K_M.gguf",
        "#CHAT_MODEL=llama3.1-8b-instruct-q4_k_m.gguf",
        "#CODE_MODEL=qwen2.5-coder-7b-q4_k_m.gguf",
    ):
        assert line in TEXT.splitlines()
