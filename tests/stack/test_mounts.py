"""What the containers see of this machine, and as whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local_ai_suite.errors import ModelError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import Settings
from local_ai_suite.stack import mounts

NOBODY = (65534, 65534)


@pytest.fixture
def env_file(paths: Paths) -> Path:
    paths.env_file.write_text("LITELLM_MASTER_KEY=sk-secret-of-the-file\n")
    paths.env_file.chmod(0o600)
    return paths.env_file


def test_a_whole_path_in_the_folder_is_named_as_the_containers_find_it(tmp_path: Path) -> None:
    settings = Settings(chat_model=str(tmp_path / "sub" / "a.gguf"), code_model="b.gguf")
    assert mounts.named_inside(settings, tmp_path) == {"CHAT_MODEL": "sub/a.gguf"}


def test_a_model_outside_the_folder_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder, other = tmp_path / "models", tmp_path / "other.gguf"
    folder.mkdir()
    other.touch()
    (folder / "link.gguf").symlink_to(other)
    for file in (other, folder / "link.gguf"):
        with pytest.raises(ModelError, match="outside MODELS_DIR") as caught:
            mounts.check_visible([file], folder, NOBODY)
        assert str(other) in caught.value.message
        assert "RUNTIME=native" in caught.value.hint


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_model_that_the_containers_user_cannot_read_is_refused(
    tmp_path: Path, closed: str
) -> None:
    folder = tmp_path / "models" / "sub"
    folder.mkdir(parents=True)
    file = folder / "a.gguf"
    file.touch()
    for path, mode in ((tmp_path / "models", 0o755), (folder, 0o755), (file, 0o644)):
        path.chmod(mode)
    mounts.check_visible([file], tmp_path / "models", NOBODY)
    (file if closed == "file" else folder).chmod(0o600 if closed == "file" else 0o700)
    owner = (os.geteuid(), os.getegid())
    mounts.check_visible([file], tmp_path / "models", owner)
    with pytest.raises(ModelError, match="not readable") as caught:
        mounts.check_visible([file], tmp_path / "models", NOBODY)
    assert "chmod" in caught.value.hint


def test_the_containers_run_as_the_owner_of_env_and_never_as_root(
    paths: Paths, env_file: Path
) -> None:
    owner = env_file.stat()
    expected = (owner.st_uid, owner.st_gid) if owner.st_uid else mounts.IMAGE_USER
    assert mounts.user(paths) == expected
    given = mounts.prepare(Settings(), paths)
    assert given["LAIS_USER"] == f"{expected[0]}:{expected[1]}"
    seen = Path(given["LAIS_ENV_FILE"]).stat()
    assert (seen.st_uid, seen.st_mode & 0o777) == (expected[0], 0o600)
    assert Path(given["LAIS_ENV_FILE"]).read_text() == env_file.read_text()
    keys = Path(given["LAIS_KEYS_DIR"]).stat()
    assert (keys.st_uid, keys.st_mode & 0o777) == (expected[0], 0o700)


def test_the_default_folder_is_the_default_inside_too(paths: Paths, env_file: Path) -> None:
    """Where a folder is named, an empty one is an error; the demo answers in the default one."""
    assert mounts.prepare(Settings(), paths)["MODELS_DIR"] == ""
    named = mounts.prepare(Settings(models_dir="/mnt/e/models"), paths)
    assert named["MODELS_DIR"] == named["LAIS_MODELS_DIR"] == "/mnt/e/models"


def test_models_toml_is_there_inside_when_it_is_here(paths: Paths, env_file: Path) -> None:
    assert mounts.prepare(Settings(), paths)["LAIS_MODELS_TOML"] == "/dev/null"
    paths.models_toml.touch()
    assert mounts.prepare(Settings(), paths)["LAIS_MODELS_TOML"] == str(paths.models_toml)


def test_a_state_folder_that_others_may_look_into_is_closed(paths: Paths) -> None:
    paths.state.mkdir(mode=0o755)
    paths.state.chmod(0o755)
    paths.ensure_state()
    assert paths.state.stat().st_mode & 0o777 == 0o700
