"""What /openapi.json allows is answered as it says: Schemathesis asks the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from rerank_gguf import write_rerank_gguf
from schemathesis import checks
from schemathesis.config import SchemathesisConfig

from gateway_running import Running, running
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.gateway import openapi
from local_ai_suite.gateway.protocols import ENDPOINTS
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = 100
"""For each operation: some minutes in all on two cores."""

SCHEMA = schemathesis.openapi.from_dict(openapi.document(), config=SchemathesisConfig())
OPERATIONS = {
    f"{found.method.upper()} {found.path}": found
    for found in (result.ok() for result in SCHEMA.get_all_operations())
}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
SHORT = {"max_tokens": 2, "max_completion_tokens": 2, "max_output_tokens": 2, "n_predict": 2}


def to_a_real_model(body: Any, *, ollama: bool) -> Any:
    """The request to a model that is there, with an answer of two tokens."""
    if not isinstance(body, dict):
        return body
    if ollama:
        return {**body, "model": "local-chat", "options": {"num_predict": 2}}
    return {**body, "model": "local-chat", **{k: v for k, v in SHORT.items() if k in body}}


@pytest.fixture(scope="module")
def by_use(tmp_path_factory: pytest.TempPathFactory, served: Running) -> Iterator[dict[str, str]]:
    """Use of a route -> a gateway over an engine whose model is made for it."""
    folder = tmp_path_factory.mktemp("uses")
    embedding = write_scripted_gguf(folder / "embedding.gguf")
    ranking = write_rerank_gguf(folder / "ranking.gguf")
    with (
        engine(embedding, context=8192, slots=1, mode="embedding") as embedder,
        engine(ranking, context=2048, slots=1, mode="rerank") as ranker,
        running(embedder.url) as embeds,
        running(ranker.url) as ranks,
    ):
        yield {"embed": embeds.url, "rerank": ranks.url, "other": served.url}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_allowed_request_is_answered_as_the_document_says(
    name: str, by_use: dict[str, str]
) -> None:
    operation = OPERATIONS[name]
    endpoint = ENDPOINTS.get(operation.path)
    url = by_use.get(endpoint.route.use if endpoint else "other", by_use["other"])

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        case.body = to_a_real_model(case.body, ollama=case.path.startswith("/api/"))
        case.call_and_validate(base_url=url, checks=CHECKS, timeout=30)

    ask()
