"""A tool whose description is null."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from translating_transport import asked, is_untouched

from local_ai_suite.gateway.protocols import Target

ROUTE = "/v1/chat/completions"


def request(**more: Any) -> bytes:
    function = {"name": "f", "description": None, "parameters": {"type": "object"}}
    tool = {"type": "function", "function": function}
    messages = [{"role": "user", "content": "hi"}]
    return orjson.dumps({"model": "m", "messages": messages, "tools": [tool], **more})


@pytest.mark.parametrize("engine", ["m", "another"])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_it_is_left_out_and_all_else_stays(engine: str, choice: str) -> None:
    found = asked(ROUTE, request(tool_choice=choice), Target("m", engine))
    sent = orjson.loads(found.body())
    assert sent["model"] == engine
    assert sent["tools"][0]["function"] == {"name": "f", "parameters": {"type": "object"}}


def test_the_words_in_a_message_change_nothing() -> None:
    body = orjson.dumps({"model": "m", "messages": [{"content": '"description": null'}]})
    assert is_untouched(asked(ROUTE, body, Target("m", "m")), body)
