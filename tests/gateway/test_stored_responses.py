"""Responses that are kept: gone on from, asked for, deleted; and a store that fails."""

from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import httpx
import openai
import orjson
import pytest
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from gateway_running import Running, running
from local_ai_suite.gateway.keys import KeyFile, Keyring
from local_ai_suite.gateway.store import Database, Store
from local_ai_suite.wire.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scripted_engine import Engine

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "gateway" / "responses.sqlite3"


@pytest.fixture(scope="module")
def keeping(real_engine: Engine, file: Path) -> Iterator[Running]:
    with running(real_engine.url, store=Store(lambda: Database(file))) as found:
        yield found


@pytest.fixture
def http(keeping: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=keeping.url, timeout=30) as found:
        yield found


@pytest.fixture
def sdk(keeping: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{keeping.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def ask(http: httpx.Client, **request: Any) -> httpx.Response:
    return http.post("/v1/responses", json={"model": "local-chat", "input": "hi", **request})


def last_event(answer: httpx.Response) -> dict[str, Any]:
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    event: dict[str, Any] = orjson.loads(lines[-1])
    return event


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_response_is_found_again_as_it_was_given(http: httpx.Client, *, stream: bool) -> None:
    answer = ask(http, stream=stream, metadata={"a": "b"})
    said = last_event(answer)["response"] if stream else answer.json()
    assert said["store"] is True
    assert http.get(f"/v1/responses/{said['id']}").json() == said


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_thread_goes_on_from_a_response(http: httpx.Client, *, stream: bool) -> None:
    first = ask(http, input="weather", tools=[WEATHER], stream=stream)
    first = last_event(first)["response"] if stream else first.json()
    call = first["output"][0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    second = ask(http, previous_response_id=first["id"], input=[output], tools=[WEATHER]).json()
    assert second["previous_response_id"] == first["id"]
    assert second["output"][0]["content"][0]["text"] == "It is sunny in Seoul, 21 degrees."


def test_the_instructions_of_a_response_are_not_those_of_the_next(http: httpx.Client) -> None:
    first = ask(http, instructions="hello " * 50).json()
    second = ask(http, previous_response_id=first["id"]).json()
    assert second["instructions"] is None
    assert second["usage"]["input_tokens"] < first["usage"]["input_tokens"]


def test_the_input_items_are_listed_for_the_sdk_with_what_came_before(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="local-chat", input="hi")
    second = sdk.responses.create(
        model="local-chat", input="hi", previous_response_id=first.id, instructions="Be brief."
    )
    listed = sdk.responses.input_items.list(second.id, order="asc", limit=2)
    items = list(listed)  # the SDK asks for the second page itself
    assert [getattr(item, "role", None) for item in items] == ["user", "assistant", "user"]
    newest = next(iter(sdk.responses.input_items.list(second.id)))
    assert newest == items[-1]
    raw = [item.model_dump(exclude_none=True) for item in items]
    TypeAdapter(list[ResponseItem]).validate_python(raw)


def test_a_deleted_response_is_gone_from_the_file_too(
    http: httpx.Client, sdk: openai.OpenAI, file: Path
) -> None:
    said = ask(http, metadata={"secret": "Rumpelstilzchen"}).json()
    sdk.responses.delete(said["id"])
    assert http.get(f"/v1/responses/{said['id']}").status_code == 404
    gone = http.delete(f"/v1/responses/{said['id']}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_stored")
    for part in file.parent.iterdir():
        assert b"Rumpelstilzchen" not in part.read_bytes(), part


def test_what_says_store_false_is_not_kept(http: httpx.Client) -> None:
    said = ask(http, store=False).json()
    assert said["store"] is False
    assert http.get(f"/v1/responses/{said['id']}").status_code == 404


def test_a_previous_response_that_is_not_there_is_a_400_that_names_it(http: httpx.Client) -> None:
    for wrong in ("resp_never", 7):
        error = ask(http, previous_response_id=wrong)
        assert error.status_code == 400
        assert error.json()["error"]["param"] == "previous_response_id"
    missing = ask(http, previous_response_id="resp_never").json()["error"]
    assert missing["code"] == "previous_response_not_found"
    assert "resp_never" in missing["message"]


def test_an_item_reference_stands_for_the_item(http: httpx.Client) -> None:
    first = ask(http, input="weather", tools=[WEATHER]).json()
    call = first["output"][0]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    turns = [
        {"role": "user", "content": "weather"},
        {"type": "item_reference", "id": call["id"]},
        output,
    ]
    second = ask(http, input=turns, tools=[WEATHER]).json()
    assert second["output"][0]["content"][0]["text"] == "It is sunny in Seoul, 21 degrees."
    lost = ask(http, input=[{"type": "item_reference", "id": "msg_never"}])
    assert (lost.status_code, lost.json()["error"]["param"]) == (400, "input[0]")


@pytest.mark.parametrize("before", [False, True], ids=["alone", "in a thread"])
def test_the_tokens_are_counted_that_the_response_then_has_and_nothing_is_kept(
    sdk: openai.OpenAI, file: Path, *, before: bool
) -> None:
    asked: Any = {
        "model": "local-chat",
        "input": "weather",
        "tools": [{**WEATHER, "strict": False}],
    }
    if before:
        asked["previous_response_id"] = sdk.responses.create(model="local-chat", input="hi").id
    with sqlite3.connect(file) as database:
        kept = database.execute("select count(*) from records").fetchone()
        counted = sdk.responses.input_tokens.count(**asked)
        assert database.execute("select count(*) from records").fetchone() == kept
    usage = sdk.responses.create(**asked).usage
    assert usage
    assert counted.input_tokens == usage.input_tokens


def test_the_tokens_of_a_chat_are_counted(http: httpx.Client) -> None:
    chat = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}]}
    counted = http.post("/v1/chat/completions/input_tokens", json=chat).json()
    usage = http.post("/v1/chat/completions", json=chat).json()["usage"]
    assert counted["input_tokens"] == usage["prompt_tokens"]


def test_only_what_runs_in_the_background_is_cancelled_or_streamed_again(
    http: httpx.Client,
) -> None:
    said = ask(http).json()
    assert http.post(f"/v1/responses/{said['id']}/cancel").status_code == 400
    assert http.get(f"/v1/responses/{said['id']}?stream=true").status_code == 400
    assert http.post("/v1/responses/resp_never/cancel").status_code == 404
    assert http.get(f"/v1/responses/{said['id']}/input_items?limit=0").status_code == 400
    assert http.get(f"/v1/responses/{said['id']}/input_items?after=x").status_code == 400


def test_an_error_is_not_kept(http: httpx.Client) -> None:
    assert ask(http, input="hello " * 20_000).status_code == 400
    assert ask(http, model="nobody").status_code == 404


def test_the_file_is_for_its_owner_only(http: httpx.Client, file: Path) -> None:
    ask(http)
    assert {stat.S_IMODE(part.stat().st_mode) for part in file.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_another_key_finds_nothing_also_under_the_same_name(
    real_engine: Engine, tmp_path: Path
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    keyring = Keyring("sk-master-0123456789", keys)
    guard = Guard(require_key=True, key_check=keyring.check)
    store = Store(lambda: Database(tmp_path / "responses.sqlite3"))
    ann, ben = keys.create("ann"), keys.create("ben")
    with (
        running(real_engine.url, guard=guard, keyring=keyring, store=store) as served,
        httpx.Client(base_url=served.url, timeout=30) as http,
    ):
        http.headers["authorization"] = f"Bearer {ann}"
        said = ask(http).json()
        assert http.get(f"/v1/responses/{said['id']}").status_code == 200
        for other in (ben, "sk-master-0123456789"):
            http.headers["authorization"] = f"Bearer {other}"
            assert http.get(f"/v1/responses/{said['id']}").status_code == 404
            assert ask(http, previous_response_id=said["id"]).status_code == 400
            assert http.delete(f"/v1/responses/{said['id']}").status_code == 404
    keys.revoke("ann")
    again = keys.create("ann")
    keyring = Keyring(None, keys)
    guard = Guard(require_key=True, key_check=keyring.check)
    store = Store(lambda: Database(tmp_path / "responses.sqlite3"))
    with running(real_engine.url, guard=guard, keyring=keyring, store=store) as served:
        headers = {"authorization": f"Bearer {again}"}
        answer = httpx.get(f"{served.url}/v1/responses/{said['id']}", headers=headers)
        assert answer.status_code == 404


def test_without_a_store_the_setting_is_named(client: httpx.Client) -> None:
    said = ask(client)
    assert said.json()["store"] is False
    assert "x-lais-not-stored" not in said.headers  # it was switched off, nothing is wrong
    refused = ask(client, previous_response_id="resp_1").json()["error"]
    assert "STORE_RESPONSES" in refused["message"]
    gone = client.get("/v1/responses/resp_1")
    assert (gone.status_code, "STORE_RESPONSES" in gone.text) == (404, True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", ["a directory in its place", "no database"])
def test_a_store_that_cannot_be_used_costs_no_answer_and_is_told(
    real_engine: Engine, tmp_path: Path, fault: str, *, stream: bool
) -> None:
    path = tmp_path / "responses.sqlite3"
    path.mkdir() if fault.startswith("a dir") else path.write_bytes(b"no database" * 1000)
    with (
        running(real_engine.url, store=Store(lambda: Database(path))) as served,
        httpx.Client(base_url=served.url, timeout=30) as http,
    ):
        answer = ask(http, stream=stream)
        said = last_event(answer)["response"] if stream else answer.json()
        assert said["status"] == "completed"
        assert said["store"] is False
        assert "cannot be used" in answer.headers["x-lais-not-stored"]
        assert http.get("/v1/responses/resp_1").status_code == 503
        assert ask(http, previous_response_id="resp_1").status_code == 503


class Filling(Database):
    """A disk that is full when the answer is to be written."""

    def put(self, *_: Any) -> None:
        with self._mapped():
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_disk_that_fills_up_meanwhile_costs_no_answer_and_is_told(
    real_engine: Engine, tmp_path: Path, *, stream: bool
) -> None:
    store = Store(lambda: Filling(tmp_path / "responses.sqlite3"))
    with (
        running(real_engine.url, store=store) as served,
        httpx.Client(base_url=served.url, timeout=30) as http,
    ):
        answer = ask(http, stream=stream)
    said = last_event(answer)["response"] if stream else answer.json()
    assert (said["status"], said["store"]) == ("completed", False)
    assert stream or "No space left" in answer.headers["x-lais-not-stored"]
