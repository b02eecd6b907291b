"""`lais settings`."""

from __future__ import annotations

import json

import pytest

from local_ai_suite.cli.main import main
from local_ai_suite.paths import Paths
from local_ai_suite.settings import KEYS


def lais(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    return int(caught.value.code or 0)


@pytest.fixture(autouse=True)
def project(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    monkeypatch.setenv("CTX_SIZE", "4096")
    paths.env_file.write_text(
        "LITELLM_MASTER_KEY=sk-very-secret\nKEEP_ALIVE=1h\nCHAT_MODLE=x\n", encoding="utf-8"
    )
    return paths


def test_every_setting_is_shown_with_its_source(capsys) -> None:
    assert lais("settings", "--json") == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)["data"]["settings"]}
    assert rows.keys() == KEYS.keys()
    assert (rows["CTX_SIZE"]["value"], rows["CTX_SIZE"]["source"]) == (4096, "environment")
    assert (rows["KEEP_ALIVE"]["value"], rows["KEEP_ALIVE"]["source"]) == (3600.0, ".env line 2")
    assert (rows["RUNTIME"]["source"], rows["RUNTIME"]["changed"]) == ("default", False)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_secrets_are_not_shown(capsys, words) -> None:
    assert lais("settings", *words) == 0
    captured = capsys.readouterr()
    assert "very-secret" not in captured.out + captured.err
    assert "(set, hidden)" in captured.out


def test_a_misspelt_setting_is_a_warning(capsys) -> None:
    lais("settings")
    assert "CHAT_MODLE is not a setting" in capsys.readouterr().err
