"""The first ``.env``."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from local_ai_suite.errors import SettingsError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import load_settings
from local_ai_suite.settings.file import ensure_env_file, fresh_key

EXAMPLE = (Path(__file__).resolve().parents[2] / ".env.example").read_text(encoding="utf-8")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / ".env.example").write_text(EXAMPLE, encoding="utf-8")
    return Paths(project=tmp_path, state=tmp_path / ".state")


def test_it_is_the_example_with_a_fresh_key_for_its_owner_only(paths: Paths) -> None:
    before = os.umask(0o000)
    try:
        assert ensure_env_file(paths)
    finally:
        os.umask(before)
    assert stat.S_IMODE(paths.env_file.stat().st_mode) == 0o600
    settings = load_settings(paths, environ={})
    key = settings.litellm_master_key
    assert key is not None
    assert key.startswith("sk-")
    assert len(key) > 40
    text = paths.env_file.read_text(encoding="utf-8")
    assert text == EXAMPLE.replace("LITELLM_MASTER_KEY=\n", f"LITELLM_MASTER_KEY={key}\n")
    assert sorted(path.name for path in paths.project.iterdir()) == [".env", ".env.example"]


def test_two_keys_differ() -> None:
    assert fresh_key() != fresh_key()


def test_an_existing_file_is_never_changed(paths: Paths) -> None:
    paths.env_file.write_text("CTX_SIZE=1\n", encoding="utf-8")
    paths.env_file.chmod(0o640)
    assert not ensure_env_file(paths)
    assert paths.env_file.read_text(encoding="utf-8") == "CTX_SIZE=1\n"
    assert stat.S_IMODE(paths.env_file.stat().st_mode) == 0o640


def test_a_link_to_nowhere_is_left_alone(paths: Paths) -> None:
    paths.env_file.symlink_to(paths.project / "unplugged" / ".env")
    assert not ensure_env_file(paths)
    assert not paths.env_file.exists()


def test_many_at_once_agree_on_one_key(paths: Paths) -> None:
    start, made = threading.Barrier(8), list[bool]()

    def make() -> None:
        start.wait(timeout=10)
        made.append(ensure_env_file(paths))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(made) == [False] * 7 + [True]
    assert paths.env_file.read_text(encoding="utf-8").count("LITELLM_MASTER_KEY=sk-") == 1


def test_it_works_on_a_disk_without_hard_links(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert ensure_env_file(paths)
    assert not ensure_env_file(paths)
    assert load_settings(paths, environ={}).litellm_master_key


def test_without_the_example_it_says_how_to_get_it_back(paths: Paths) -> None:
    paths.env_example.unlink()
    with pytest.raises(SettingsError, match=r"\.env\.example cannot be read") as caught:
        ensure_env_file(paths)
    assert "git checkout" in caught.value.hint


def test_a_full_disk_leaves_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        ensure_env_file(paths)
    assert [path.name for path in paths.project.iterdir()] == [".env.example"]
