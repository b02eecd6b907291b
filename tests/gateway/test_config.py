"""The config's reader: whose each model is, and errors that say where."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway_running import CONFIG
from local_ai_suite.errors import GatewayError
from local_ai_suite.gateway.config import GatewayConfig, load_config

ENVIRON = {"INFERENCE_API_BASE": "http://127.0.0.1:8001/v1", "INFERENCE_API_KEY": "k"}
LOCAL = "api_base: os.environ/INFERENCE_API_BASE"


def read(tmp_path: Path, text: str, **options: bool) -> GatewayConfig:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, ENVIRON, **options)


def one_model(more: str = "", params: str = "", model: str = "openai/a") -> str:
    return (
        f"model_list:\n  - model_name: a\n    litellm_params:\n      model: {model}\n"
        f"      {LOCAL}\n      {params}\n{more}"
    )


def test_the_committed_config_relays_every_name() -> None:
    config = load_config(CONFIG, ENVIRON)
    assert {name: route.engine for name, route in config.routes.items()} == {
        "local-chat": "local-chat",
        "local-code": "local-code",
        "local-embed": "local-embed",
        "qwen2.5-coder": "local-code",
    }
    for route in config.routes.values():
        assert (route.kind, route.api_bases, route.api_key) == (
            "local",
            ("http://127.0.0.1:8001/v1",),
            "k",
        )
    assert config.request_timeout_s == 600


def test_relay_off_gives_everything_to_litellm() -> None:
    config = load_config(CONFIG, ENVIRON, relay=False)
    assert {route.kind for route in config.routes.values()} == {"litellm"}
    assert "GATEWAY_RELAY=off" in config.routes["local-chat"].reason


def test_the_key_of_a_route_is_not_in_its_text() -> None:
    config = load_config(CONFIG, {**ENVIRON, "INFERENCE_API_KEY": "hunter2"})
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (one_model(model="anthropic/a"), "anthropic"),
        (one_model(params="temperature: 0.1"), "temperature"),
        (one_model("litellm_settings: {callbacks: [x]}"), "callbacks"),
        (one_model("litellm_settings: {fallbacks: [{a: [b]}]}"), "fallbacks"),
        (one_model("litellm_settings: {fallbacks: [{'*': [b]}]}"), "fallbacks"),
        (one_model("guardrails: [{guardrail_name: g}]"), "guardrails"),
        (one_model("general_settings: {database_url: postgres://x}"), "database_url"),
        (one_model("router_settings: {max_budget: 3}").replace("router", "litellm"), "max_budget"),
        (one_model().replace(LOCAL, "api_base: http://elsewhere/v1"), "not the local engine"),
        (one_model() + "  - model_name: a\n    litellm_params: {model: openai/b}\n", "2 depl"),
    ],
)
def test_a_model_on_which_litellm_should_act_is_litellms(
    tmp_path: Path, text: str, reason: str
) -> None:
    route = read(tmp_path, text).routes["a"]
    assert route.kind == "litellm"
    assert reason in route.reason


def test_fallbacks_of_another_model_do_not_matter(tmp_path: Path) -> None:
    config = read(tmp_path, one_model("litellm_settings: {fallbacks: [{b: [a]}]}"))
    assert config.routes["a"].kind == "local"


def test_wildcards_are_asked_after_exact_names(tmp_path: Path) -> None:
    text = one_model().replace("model_name: a", 'model_name: "x/*"').replace("openai/a", "openai/*")
    config = read(tmp_path, text + '  - model_name: "*"\n    litellm_params: {model: openai/b}\n')
    found = config.find("x/y")
    assert found is not None
    assert (found.engine, found.kind) == ("*", "local")
    other = config.find("z")
    assert other is not None
    assert other.kind == "litellm"
    assert read(tmp_path, one_model()).find("z") is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("model_list: [\n", 2, "not valid YAML"),
        ("", 1, "mapping"),
        ("a: 1", 1, "model_list"),
        ("model_list:\n  - model_name: a\n", 2, "litellm_params"),
        ("model_list:\n  - litellm_params: {model: x/y}\n", 2, "model_name"),
        ("model_list:\n  - model_name: a\n    litellm_params:\n      model: 3\n", 4, "model"),
        (one_model("router_settings:\n  model_group_alias:\n    b: c\n"), 9, "'c'"),
        (one_model("router_settings: 3"), 7, "router_settings"),
        (one_model("litellm_settings:\n  request_timeout: soon\n"), 8, "request_timeout"),
        (one_model("include: [x.yaml]"), 7, "include"),
        (one_model(params="api_key: os.environ/NOWHERE"), 6, "NOWHERE"),
        (one_model(params="api_key: [1]"), 6, "api_key"),
    ],
)
def test_an_error_names_file_line_and_key(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(GatewayError) as raised:
        read(tmp_path, text)
    assert f"config.yaml, line {line}: " in raised.value.message
    assert said in raised.value.message
    assert raised.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml", ENVIRON)


def test_plain_yaml_reads_the_committed_config_the_same_way() -> None:
    plain = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    assert plain == load_config(CONFIG, ENVIRON).document
    assert plain["model_list"][1]["litellm_params"]["max_retries"] == 0
