"""OpenAI's and Anthropic's JavaScript SDKs and the AI SDK: `make test-clients`."""

from __future__ import annotations

import js_clients
import pytest

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]


@pytest.mark.parametrize("name", ["direct", "relay", "litellm"])
def test_the_javascript_sdks_meet_what_the_table_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    found = js_clients.run(request.getfixturevalue(name))
    assert found == {check: row[name] for check, row in js_clients.outcomes().items()}
