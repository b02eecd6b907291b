"""Which file is behind which name."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.catalog.catalog import Catalog, configured_models
from local_ai_suite.catalog.models_toml import NEVER
from local_ai_suite.demo import Rule, Say, Script, write_scripted_gguf
from local_ai_suite.demo.gguf_writer import U32, Tensor, TensorType, gguf_bytes
from local_ai_suite.errors import ModelError, SettingsError
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.paths import Paths


LONG = (Rule("long", (Say("a text that makes the file larger, " * 20),)),)


def put(paths: Paths, *names: str) -> None:
    for name in names:
        write_scripted_gguf(paths.project / "models" / name)


def catalog(paths: Paths, **environ: str) -> Catalog:
    return configured_models(load_settings(paths, environ=environ), paths)


def names(found: Catalog) -> dict[str, str]:
    """Name to file."""
    return {name: entry.path.name for entry in found.entries for name in entry.names}


def test_nothing_named_and_nothing_there_is_the_demo_model(paths: Paths) -> None:
    found = catalog(paths)
    assert [entry.is_demo for entry in found.entries] == [True]
    assert set(names(found)) == {"local-chat", "local-code", "demo"}
    assert "demo model answers" in found.entries[0].reason


def test_an_embedding_model_alone_does_not_take_the_demos_place(paths: Paths) -> None:
    weights = Tensor("token_embd.weight", (8,), TensorType.F32, bytes(32))
    content = gguf_bytes({"general.architecture": "bert", "bert.pooling_type": U32(1)}, [weights])
    (paths.project / "models" / "embed.gguf").write_bytes(content)
    found = catalog(paths)
    assert names(found)["local-embed"] == "embed.gguf"
    assert found.default.is_demo
    assert {"local-chat", "local-code", "demo"} <= set(found.default.names)


def test_a_named_model_that_is_not_there_is_an_error_and_never_the_demo(paths: Paths) -> None:
    with pytest.raises(ModelError, match=r"CHAT_MODEL \(set in: environment\)"):
        catalog(paths, CHAT_MODEL="Qwen2.5-3B.gguf")


def test_a_misspelt_model_is_told_what_is_near(paths: Paths) -> None:
    put(paths, "Qwen2.5-3B-Instruct.gguf")
    with pytest.raises(ModelError) as caught:
        catalog(paths, CHAT_MODEL="Qwen2.5-3B-Instuct.gguf")
    assert "Did you mean Qwen2.5-3B-Instruct.gguf?" in caught.value.hint


def test_a_named_folder_that_is_missing_or_empty_is_an_error(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not there"):
        catalog(paths, MODELS_DIR=str(tmp_path / "unplugged"))
    (tmp_path / "mount").mkdir()
    with pytest.raises(ModelError, match="holds no GGUF"):
        catalog(paths, MODELS_DIR=str(tmp_path / "mount"))


def test_a_folder_with_only_a_broken_file_is_an_error_and_never_the_demo(paths: Paths) -> None:
    (paths.project / "models" / "broken.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(ModelError, match=r"broken\.gguf"):
        catalog(paths)


BASE = Script(is_base=True)


def test_a_base_model_is_not_chosen_while_one_is_there_that_chats(paths: Paths) -> None:
    write_scripted_gguf(paths.project / "models" / "big-coder-base.gguf", replace(BASE, rules=LONG))
    put(paths, "small-instruct.gguf")
    found = catalog(paths)
    by_name = names(found)
    assert by_name["local-chat"] == by_name["local-code"] == "small-instruct.gguf"
    entry = found.by_name["big-coder-base"]
    assert entry.is_base
    assert set(entry.capabilities) == {"completion", "fim"}
    assert "no chat template" in entry.warnings[0]
    assert found.by_name["local-chat"].warnings == ()


def test_a_base_model_alone_is_served_with_a_warning(paths: Paths) -> None:
    write_scripted_gguf(paths.project / "models" / "base.gguf", BASE)
    entry = catalog(paths).by_name["local-chat"]
    assert entry.path.name == "base.gguf"
    assert "only base models are there" in entry.reason
    assert "base.gguf has no chat template" in entry.warnings[0]


def test_a_base_model_that_is_named_is_taken(paths: Paths) -> None:
    write_scripted_gguf(paths.project / "models" / "base.gguf", BASE)
    put(paths, "instruct.gguf")
    by_name = names(catalog(paths, CODE_MODEL="base.gguf"))
    assert (by_name["local-code"], by_name["local-chat"]) == ("base.gguf", "instruct.gguf")


def test_one_file_answers_for_chat_and_code_in_one_process(paths: Paths) -> None:
    put(paths, "General-3B.gguf")
    found = catalog(paths)
    assert len(found.entries) == 1
    assert found.entries[0].names == ("local-chat", "local-code", "General-3B")


def test_roles_that_nobody_named_are_chosen_with_a_reason(paths: Paths) -> None:
    put(paths, "General-3B.gguf", "Qwen2.5-Coder-3B.gguf", "sub/Other.gguf")
    found = catalog(paths)
    assert names(found)["local-code"] == "Qwen2.5-Coder-3B.gguf"
    assert names(found)["local-chat"] in {"General-3B.gguf", "Other.gguf"}
    assert "its name says that it is for code" in found.by_name["local-code"].reason
    assert "sub/Other" in names(found)
    assert not any(entry.is_demo for entry in found.entries)


def test_names_in_the_settings_beat_the_choice_with_or_without_the_ending(paths: Paths) -> None:
    put(paths, "General-3B.gguf", "Qwen2.5-Coder-3B.gguf")
    found = catalog(paths, CHAT_MODEL="Qwen2.5-Coder-3B", CODE_MODEL="General-3B.gguf")
    assert names(found)["local-chat"] == "Qwen2.5-Coder-3B.gguf"
    assert names(found)["local-code"] == "General-3B.gguf"
    assert "CHAT_MODEL names it" in found.by_name["local-chat"].reason


def test_a_whole_path_outside_the_folder_may_be_named(paths: Paths, tmp_path: Path) -> None:
    write_scripted_gguf(tmp_path / "elsewhere" / "Big.gguf")
    found = catalog(paths, CHAT_MODEL=str(tmp_path / "elsewhere" / "Big.gguf"))
    assert names(found)["local-chat"] == "Big.gguf"


def test_models_toml_adds_models_and_their_own_values(paths: Paths) -> None:
    put(paths, "General-3B.gguf", "Small.gguf")
    paths.models_toml.write_text(
        """
        [models.local-chat]
        ctx_size = 8192
        pinned = true
        [models.quick]
        file = "Small.gguf"
        keep_alive = "never"
        aliases = ["autocomplete"]
        """
    )
    found = catalog(paths, CHAT_MODEL="General-3B.gguf")
    chat, quick = found.by_name["local-chat"], found.by_name["quick"]
    assert (chat.overrides.ctx_size, chat.overrides.pinned) == (8192, True)
    assert quick.overrides.keep_alive == NEVER
    assert found.by_name["autocomplete"] is quick


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[models.a]\nfile = 'x.gguf'\n[models.a]\nfile = 'y.gguf'", "models.toml"),
        ("[models.a]\nfile = 'x.gguf'\naliases = ['b']\n[models.b]\nfile = 'x.gguf'", "same name"),
        ("[models.a]\nfil = 'x.gguf'", "not known"),
        ("[models.a]\nfile = 'x.gguf'\nctx_size = 'big'", "ctx_size"),
        ("[models.a]\nfile = 'x.gguf'\npinned = 'yes'", "true or false"),
        ("[server]\nport = 1", "server"),
        ("[models.local-chat", "models.toml"),
        ("[models.nobody]\nctx_size = 5", "names no file"),
    ],
)
def test_a_wrong_models_toml_is_named_where_it_is_wrong(
    paths: Paths, text: str, wrong: str
) -> None:
    put(paths, "x.gguf", "y.gguf")
    paths.models_toml.write_text(text)
    with pytest.raises(SettingsError, match=wrong):
        catalog(paths)


def test_two_files_of_one_name_in_two_folders_keep_apart(paths: Paths) -> None:
    put(paths, "a/Same.gguf", "b/Same.gguf", "Main.gguf")
    found = catalog(paths, CHAT_MODEL="Main.gguf", CODE_MODEL="Main.gguf")
    assert {"a/Same", "b/Same"} <= set(names(found))


def test_a_role_named_in_two_places_differently_is_an_error(paths: Paths) -> None:
    put(paths, "x.gguf", "y.gguf")
    paths.models_toml.write_text("[models.local-chat]\nfile = 'y.gguf'")
    with pytest.raises(SettingsError, match="says file"):
        catalog(paths, CHAT_MODEL="x.gguf")


def test_capabilities_come_from_the_file(paths: Paths) -> None:
    put(paths, "General-3B.gguf")
    entry: Any = catalog(paths).entries[0]
    assert {"chat", "completion", "tools"} <= set(entry.capabilities)


def test_a_file_that_claims_two_to_the_sixty_tensors_is_passed_over(paths: Paths) -> None:
    put(paths, "good.gguf")
    header = struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0)
    (paths.project / "models" / "absurd.gguf").write_bytes(header)
    found = catalog(paths)
    assert "absurd" not in names(found)
    assert len(found.problems) == 1
    assert "absurd.gguf" in found.problems[0]


def test_the_largest_file_is_only_chosen_by_itself_where_the_memory_holds_it(paths: Paths) -> None:
    put(paths, "Small-Instruct.gguf", "Large-Instruct.gguf")
    models = paths.project / "models"
    with (models / "Large-Instruct.gguf").open("r+b") as file:
        file.truncate(8 << 30)  # a hole
    settings = load_settings(paths, environ={})
    modest = configured_models(settings, paths, memory=8 << 30)
    assert names(modest)["local-chat"] == "Small-Instruct.gguf"
    assert "that 8 GiB of memory hold" in modest.default.reason
    assert names(modest)["Large-Instruct"] == "Large-Instruct.gguf", "it can still be asked for"
    ample = configured_models(settings, paths, memory=16 << 30)
    assert names(ample)["local-chat"] == "Large-Instruct.gguf"
    assert "GiB" not in ample.default.reason
    neither = configured_models(settings, paths, memory=1000)
    assert names(neither)["local-chat"] == "Large-Instruct.gguf"
