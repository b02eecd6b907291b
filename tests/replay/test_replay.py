"""What real clients sent is answered as it was answered to them.

The corpus is recorded anew by ``make test-clients`` and ``python tests/clients/keep.py``.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

import client_corpus
import client_matrix

if TYPE_CHECKING:
    import httpx

# Characters of a client's file: shapes are kept, not prose.
LARGEST = 120_000
# A key, and folders of the machine where it was recorded.
FOREIGN = re.compile(r"\bsk-\w{4}|/tmp/|/root/|pytest-\d")
KEPT = client_corpus.kept()
CASES = [
    pytest.param(one, id=f"{client}-{number}-{one['path'].rpartition('/')[2]}")
    for client, record in KEPT.items()
    for number, one in enumerate(client_corpus.unpack(record))
]


@pytest.mark.parametrize("recorded", CASES)
def test_a_recorded_request_gets_its_answer(
    gateway: httpx.Client, recorded: dict[str, Any]
) -> None:
    body = json.dumps(recorded["body"]).encode() if recorded["body"] is not None else None
    answer = gateway.request(
        recorded["method"], recorded["path"], headers=recorded["headers"], content=body
    )
    kind = answer.headers.get("content-type", "")
    seen = client_corpus.summary(answer.status_code, kind, answer.content)
    assert seen == recorded["answer"], answer.text[:2000]


def test_the_corpus_holds_no_secret_and_nothing_of_a_machine() -> None:
    for client, path in ((path.stem, path) for path in client_corpus.FOLDER.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        assert len(text) < LARGEST, f"{client}: {len(text)} characters"
        for one in client_corpus.unpack(KEPT[client]):
            keys = {one["headers"].get(name) for name in client_corpus.KEY_HEADERS}
            assert keys <= {None, f"Bearer {client_corpus.PLACEHOLDER}"}, client
        found = FOREIGN.search(text)
        assert found is None, f"{client}: {found}"


def test_every_client_of_the_tier_is_in_the_corpus() -> None:
    sys.path.insert(0, str(client_corpus.FOLDER.parents[1] / "clients"))
    from packages import PACKAGES

    assert set(KEPT) == set(PACKAGES), "make test-clients, then python tests/clients/keep.py"


def test_the_matrix_is_that_of_the_corpus() -> None:
    assert client_matrix.PAGE.read_text(encoding="utf-8") == client_matrix.page()
