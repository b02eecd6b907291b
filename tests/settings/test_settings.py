"""Settings: where a value comes from, what is allowed, what an error says."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from local_ai_suite.errors import SettingsError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import KEYS, SECRET_KEYS, Settings, load_settings

# For each setting with a rule: values that break it.
WRONG = {
    "API_GATEWAY_PORT": ["0", "65536", "http", "8000.5", "-1", "8_000", "+80", "٨٠٠٠", "1e3"],
    "INFERENCE_PORT": ["0", "70000", "x"],
    "BIND_ADDRESS": ["everywhere", "127.0.0", "256.1.1.1", "my-pc.local", "127.0.0.1:8000"],
    "LISTEN_ADDRESS": ["everywhere", "127.0.0", "256.1.1.1", "my-pc.local", "127.0.0.1:8000"],
    "REQUIRE_KEY": ["maybe", "2", "yes please"],
    "LITELLM_MASTER_KEY": ["short", "has a space in it", "schlüssel-mit-umlaut", "line\nbreak-key"],
    "ALLOWED_HOSTS": ["http://a", "a b", "a:80,b", "a/b"],
    "ALLOWED_ORIGINS": ["chat.example", "https://a/b", "https://*", "http://*", "null", "*",
                        "https://a b", "https://u@a", "https://a:port", "://a", "https://"],
    "MODELS_DIR": ["two\nlines", "a\x00b", "D:\\models", "c:/models", "\\\\nas\\models",
                   "~nobody-here/models"],
    "CHAT_MODEL": ["two\nlines", "~nobody-here/a.gguf"],
    "CODE_MODEL": ["a\tb"],
    "EMBED_MODEL": ["a\x1bb"],
    "N_GPU_LAYERS": ["all", "-1", "10001", "3.5", "AUTO"],
    "CTX_SIZE": ["0", "-1", "4k", "16777217", "nan"],
    "PARALLEL": ["0", "4097", "many"],
    "CACHE_TYPE_K": ["q3_0", "F16", "8"],
    "CACHE_TYPE_V": ["q3_0"],
    "THREADS": ["0", "-2", "4097"],
    "KEEP_ALIVE": ["-1", "10 m", "nan", "inf", "1d", "31d", "721h", "m", "1e3", "forever"],
    "LOAD_TIMEOUT": ["-1", "soon"],
    "ON_MISFIT": ["ignore", "FAIL"],
    "CUDA_VISIBLE_DEVICES": ["zero", "0;1", "0,,1", "/dev/nvidia0"],
    "RUNTIME": ["podman", "Docker"],
    "LLAMA_SERVER": ["a\nb", "~nobody-here/llama-server"],
    "GATEWAY_RELAY": ["true", "1"],
    "STORE_RESPONSES": ["true", "30d"],
    "GATEWAY_WORKERS": ["0", "65", "auto"],
    "MAX_REQUEST_MIB": ["0", "4097", "64M"],
    "HF_ENDPOINT": ["huggingface.co", "ftp://a", "http://", "https://user:pw@host", "file:///a"],
    "HF_TOKEN": ["hf x", "short"],
}  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(project=tmp_path, state=tmp_path / ".state")


def load(paths: Paths, text: str = "", **environ: str) -> Settings:
    paths.env_file.write_text(text, encoding="utf-8")
    return load_settings(paths, environ=environ)


def test_without_a_file_everything_is_the_default(paths: Paths) -> None:
    assert load_settings(paths, environ={}) == Settings()


def test_the_environment_wins_over_the_file_and_a_flag_over_both(paths: Paths) -> None:
    paths.env_file.write_text("INFERENCE_PORT=1\nCTX_SIZE=2\nTHREADS=3\n", encoding="utf-8")
    settings = load_settings(
        paths, environ={"CTX_SIZE": "20", "THREADS": "30"}, flags={"THREADS": "300"}
    )
    assert (settings.inference_port, settings.ctx_size, settings.threads) == (1, 20, 300)
    assert settings.sources["INFERENCE_PORT"] == ".env line 1"
    assert settings.sources["CTX_SIZE"] == "environment"
    assert settings.sources["THREADS"] == "flag"


def test_an_empty_value_is_the_default_except_for_the_devices(paths: Paths) -> None:
    empty = "".join(f"{key}=\n" for key in KEYS)
    assert load(paths, empty) == Settings(cuda_visible_devices="")
    assert load(paths, "") == Settings(cuda_visible_devices=None)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in KEYS for value in WRONG.get(key, ["two\nlines"])]
)
def test_a_wrong_value_names_key_value_allowed_and_where(
    paths: Paths, key: str, value: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(paths, environ={key: value})
    error = caught.value
    definition = next(item for item in fields(Settings) if item.name == KEYS[key])
    assert error.message.startswith(f"{key} is ")
    assert definition.metadata["reader"].allowed in error.message
    assert "environment" in error.message
    assert key in error.hint
    assert (repr(value) in error.message) is (key not in SECRET_KEYS)


def test_a_wrong_value_in_the_file_names_its_line(paths: Paths) -> None:
    with pytest.raises(SettingsError, match=r"CTX_SIZE is '4k' \(set in: \.env line 3\)"):
        load(paths, "# size\n\nCTX_SIZE=4k # four thousand\n")


@pytest.mark.parametrize("key", sorted(SECRET_KEYS))
def test_a_wrong_secret_is_never_shown(paths: Paths, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(paths, f"{key}='very secret'\n")
    seen = f"{caught.value.as_dict()} {caught.value.__cause__!r}"
    assert "very secret" not in seen


def test_secrets_are_not_in_the_repr(paths: Paths) -> None:
    settings = load(paths, "LITELLM_MASTER_KEY=sk-very-secret\nHF_TOKEN=hf_very_secret\n")
    assert "very" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KEEP_ALIVE=90", 90.0), ("KEEP_ALIVE=1.5m", 90.0), ("KEEP_ALIVE=2h", 7200.0),
        ("KEEP_ALIVE=0", 0.0), ("N_GPU_LAYERS=auto", None), ("N_GPU_LAYERS=0", 0),
        ("N_GPU_LAYERS=35", 35), ("CTX_SIZE=1024", 1024),
        ("REQUIRE_KEY=Yes\nLITELLM_MASTER_KEY=sk-0123456789abcdef", True),
        ("REQUIRE_KEY=off", False), ("ALLOWED_HOSTS=a.local, b ,", ("a.local", "b")),
        ("CUDA_VISIBLE_DEVICES=0,1", "0,1"), ("CUDA_VISIBLE_DEVICES=", ""),
        ("CUDA_VISIBLE_DEVICES=GPU-5a4e0e0b-1c2d", "GPU-5a4e0e0b-1c2d"),
        ("HF_ENDPOINT=https://mirror.example/", "https://mirror.example"),
        ("CHAT_MODEL='한글 모델 #1.gguf'", "한글 모델 #1.gguf"),
    ],
)  # fmt: skip
def test_a_value_is_read(paths: Paths, text: str, expected: object) -> None:
    assert getattr(load(paths, text), KEYS[text.partition("=")[0]]) == expected


def test_a_misspelt_setting_is_reported_with_the_right_name(paths: Paths) -> None:
    settings = load(paths, "CHAT_MODLE=a.gguf\nOPENAI_API_KEY=sk-x\nMY_OWN=1\n")
    assert settings.warnings == (
        ".env line 1: CHAT_MODLE is not a setting; did you mean CHAT_MODEL?",
    )


def test_two_services_cannot_share_a_port(paths: Paths) -> None:
    with pytest.raises(SettingsError, match="are both 9000"):
        load(paths, "API_GATEWAY_PORT=9000\nINFERENCE_PORT=9000\n")


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::"])
def test_other_machines_need_a_key(paths: Paths, address: str) -> None:
    with pytest.raises(SettingsError, match="REQUIRE_KEY"):
        load(paths, f"BIND_ADDRESS={address}\n")
    keyed = f"BIND_ADDRESS={address}\nREQUIRE_KEY=true\nLITELLM_MASTER_KEY=sk-0123456789abcdef\n"
    assert not load(paths, keyed).on_loopback


@pytest.mark.parametrize("line", ["", "LITELLM_MASTER_KEY=\n"])
def test_a_key_that_is_asked_for_must_be_one_that_somebody_knows(paths: Paths, line: str) -> None:
    with pytest.raises(SettingsError, match="LITELLM_MASTER_KEY is empty") as caught:
        load(paths, f"REQUIRE_KEY=true\n{line}")
    assert ".env" in caught.value.hint


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_needs_none(paths: Paths, address: str) -> None:
    assert load(paths, f"BIND_ADDRESS={address}\n").on_loopback


def test_a_file_that_is_not_utf8_is_refused_with_what_to_do(paths: Paths) -> None:
    paths.env_file.write_bytes("CHAT_MODEL=모델.gguf\n".encode("cp949"))
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        load_settings(paths, environ={})
    assert "UTF-8" in caught.value.hint


def test_a_folder_named_env_is_refused(paths: Paths) -> None:
    paths.env_file.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(paths, environ={})


def test_a_relative_models_folder_lies_in_the_project(paths: Paths) -> None:
    assert load(paths, "MODELS_DIR=my models\n").models_path(paths) == paths.project / "my models"
    assert load(paths, "MODELS_DIR=/data/m\n").models_path(paths) == Path("/data/m")
