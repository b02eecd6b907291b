"""`lais plan-fit` and `lais models inspect`, as a person calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.gguf import GgufFile


@pytest.fixture
def project(tmp_path: Path, files: dict[str, GgufFile], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose models folder holds the 3B model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "Small-3B.gguf").symlink_to(files["3b"].path)
    monkeypatch.setenv("LAIS_PROJECT", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")  # no nvidia-smi of the machine's own
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def as_json(text: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_card_that_is_not_here_is_planned_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "plan-fit", "small-3b", "--gpu", "rtx 4050")
    assert code == 0
    assert "RTX 4050" in out
    assert "37 of 37 on the GPU" in out
    assert "tokens/s expected" in out
    assert "isn't here" in err
    assert "5,072 MiB of 6,144 MiB" in out, "and why: Windows has the rest"
    assert "Windows" in out


def test_the_wanted_context_comes_with_its_prices(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capsys, "plan-fit", "Small-3B.gguf", "--vram", "2.5GiB", "--ctx", "32768", "--json"
    )
    assert code == 0
    data = as_json(out)["data"]
    assert data["plan"]["ctx_size"] == 32_768
    assert data["plan"]["devices"][0]["total_bytes"] == int(2.5 * (1 << 30))
    assert len(data["options"]) >= 2


def test_the_settings_are_kept(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("N_GPU_LAYERS", "35")
    monkeypatch.setenv("CTX_SIZE", "1024")
    code, out, _ = run(capsys, "plan-fit", "Small-3B", "--vram", "6GiB", "--json")
    found = as_json(out)["data"]["plan"]
    assert (code, found["n_gpu_layers"], found["ctx_size"]) == (0, 35, 1024)
    monkeypatch.setenv("CTX_SIZE", "32768")
    code, out, _ = run(capsys, "plan-fit", "Small-3B", "--vram", "2GiB")
    assert code == 1
    assert "DOES NOT FIT" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], 4, "Small-3B.gguf"),
        (["small-3b", "--vram", "six"], 2, "6GiB"),
        (["small-3b", "--vram", "0"], 2, "no size"),
        (["small-3b", "--gpu", "voodoo 2"], 2, "--vram"),
    ],
)
def test_wrong_words_say_what_is_right(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    left, _, err = run(capsys, "plan-fit", *words)
    assert left == code
    assert said in err


def test_inspect_tells_what_the_header_says(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "models", "inspect", "small-3b", "--json")
    assert code == 0
    data = as_json(out)["data"]
    assert (data["architecture"], data["layers"], data["heads_kv"]) == ("qwen2", 36, 2)
    code, out, _ = run(capsys, "models", "inspect", str(project / "models" / "Small-3B.gguf"))
    assert "16 (2 for keys and values)" in out
