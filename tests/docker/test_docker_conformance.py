"""The conformance suite against the containers: what the table says of the relay holds there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import matrix
import pytest
import targets
import test_conformance_keys
from checks import CHECKS, Check
from containers import packaged_project, remove

from stack_project import Project

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]


def load(project: Project) -> None:
    """Up, with both models loaded: the first request must not be the one that waits."""
    done = project.make("up-p1")
    assert done.returncode == 0, done.stderr
    for model in ("local-chat", "local-embed"):
        loaded = project.lais("load", model)
        assert loaded.returncode == 0, loaded.stderr


@pytest.fixture(scope="module")
def contained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """What ``targets.pool`` and ``targets.gateway`` start, as containers."""
    folder = tmp_path_factory.mktemp("conformance")
    project = packaged_project(folder / "project")
    models = targets.make_project(folder / "made") / "models"
    shutil.copytree(models, project.folder / "models", dirs_exist_ok=True)
    example = project.folder / ".env.example"
    key = f"LITELLM_MASTER_KEY={targets.MASTER_KEY}"
    (project.folder / ".env").write_text(
        example.read_text().replace("LITELLM_MASTER_KEY=", key), encoding="utf-8"
    )
    (project.folder / ".env").chmod(0o600)
    project.environment |= {
        "CHAT_MODEL": "Scripted-Chat.gguf",
        "EMBED_MODEL": "scripted-embed.gguf",
        "CTX_SIZE": str(targets.CONTEXT),
        "PARALLEL": str(targets.SLOTS),
        "MAX_REQUEST_MIB": str(targets.MAX_REQUEST_MIB),
    }
    yield project
    remove(project)


@pytest.fixture(scope="module")
def relay(contained: Project) -> targets.Target:
    load(contained)
    url = f"http://127.0.0.1:{contained.gateway}"
    engine = f"http://127.0.0.1:{contained.ports['INFERENCE_PORT']}"
    return targets.Target("relay", url, url, f"{engine}/slots?model=local-chat")


@pytest.mark.parametrize("check", CHECKS, ids=matrix.key)
def test_the_containers_answer_as_the_table_says_of_the_relay(
    check: Check, relay: targets.Target
) -> None:
    assert check.outcome(relay) == matrix.expected(check, "relay")


def test_both_models_are_served_from_the_containers(relay: targets.Target) -> None:
    served = {model["id"] for model in json.loads(relay.http.get("/v1/models").text)["data"]}
    assert {"local-chat", "local-embed"} <= served


@pytest.fixture(scope="class")
def keyed(contained: Project) -> Iterator[str]:
    contained.environment["REQUIRE_KEY"] = "true"
    try:
        done = contained.make("restart")
        assert done.returncode == 0, done.stderr
        yield f"http://127.0.0.1:{contained.gateway}"
    finally:
        del contained.environment["REQUIRE_KEY"]


class TestKeys:
    """The suite's checks of keys, with REQUIRE_KEY handed to the containers."""

    test_master_key = staticmethod(
        test_conformance_keys.test_the_master_key_opens_under_every_header_that_clients_use
    )
    test_401 = staticmethod(
        test_conformance_keys.test_without_it_each_api_says_401_in_its_own_words
    )
    test_health = staticmethod(test_conformance_keys.test_health_is_told_to_everybody)
    test_sdks = staticmethod(test_conformance_keys.test_the_sdks_know_the_refusal)
