"""Weights that others trained, through the whole engine service: a base model with a sliding window
(Gemma 3 270M) and a multilingual embedder (e5-small)."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from weights import FOLDER, cosine, e5, e5_vectors, gemma

from engine_service import Service, end_service, start_service
from local_ai_suite.engine.learning import FitMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.models, pytest.mark.timeout(1200)]

WINDOW = 512  # Gemma's
PASSAGES = [
    "Seoul is the capital of South Korea.",
    "The gateway listens on port 8000.",
    "서울은 대한민국의 수도이다.",
    "Une phrase en français, avec des accents.",
    "Zahlen wie 3,14 und  doppelte   Leerzeichen",
    "ﬁne ligatures and ｆｕｌｌ width",
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    project = tmp_path_factory.mktemp("real")
    (project / "models").mkdir()
    for path in (gemma(), e5()):
        (project / "models" / path.name).symlink_to(path)
    # A long prompt on a busy machine takes minutes.
    started = start_service(project, PARALLEL="1", CTX_SIZE="8192")
    started.client.timeout = 900.0
    yield started
    end_service(started)


def complete(service: Service, prompt: str, **more: Any) -> dict[str, Any]:
    body = {"model": "local-chat", "prompt": prompt, "temperature": 0, "max_tokens": 8, **more}
    answer = service.client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def folded(text: str) -> str:
    """As the package reads a text before it cuts it into tokens."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def embed(service: Service, texts: list[str]) -> list[list[float]]:
    body = {"model": "local-embed", "input": texts}
    answer = service.client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return [row["embedding"] for row in answer.json()["data"]]


def test_each_is_taken_for_what_it_is(service: Service) -> None:
    chat, embedder = service.meta("local-chat"), service.meta("local-embed")
    assert chat["file"].startswith("gemma-3-270m")
    assert (chat["is_base"], chat["capabilities"]) == (True, ["completion"])
    assert "no chat template" in chat["warnings"][0]
    assert embedder["file"].startswith("multilingual-e5-small")
    assert (embedder["kind"], embedder["capabilities"]) == ("embed", ["embeddings"])
    assert embedder["warnings"] == []


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("The capital city of France is called", "Paris"),
        ("The capital of Japan is", "Tokyo"),
        ("One, two, three, four,", "five"),
        ("The opposite of hot is", "cold"),
    ],
)
def test_it_knows_what_it_was_trained_on(service: Service, prompt: str, word: str) -> None:
    assert word in complete(service, prompt)["choices"][0]["text"]


def test_it_was_loaded_as_planned_by_the_engines_own_log(service: Service) -> None:
    complete(service, "Hello")
    embed(service, ["Hello"])
    for name in ("local-chat", "local-embed"):
        assert [
            item for item in service.running(name)["deviations"] if "tokens/s" not in item
        ] == []
    loads = FitMemory(service.project / ".state").loads()
    assert set(loads) == {"local-chat", "local-embed"}
    for name, parts in loads.items():
        missed = [part for part in parts if not part.as_projected]
        assert missed == [], f"{name}: {missed}"


def test_a_chat_that_it_was_never_taught_comes_to_an_end_without_marks(service: Service) -> None:
    answer = service.chat(max_tokens=120, temperature=0).json()["choices"][0]
    assert "<|im_" not in answer["message"]["content"]


def test_a_context_of_many_windows_is_read_and_gone_on_with(service: Service) -> None:
    line = "alpha, beta, gamma, delta, epsilon, "
    found = complete(service, line * 320, max_tokens=12)
    assert found["usage"]["prompt_tokens"] > 6 * WINDOW
    assert "beta" in found["choices"][0]["text"]
    assert "delta" in found["choices"][0]["text"]


def test_a_prompt_that_is_longer_than_the_context_is_refused_with_both_numbers(
    service: Service,
) -> None:
    body = {"model": "local-chat", "prompt": "word and " * 9000, "max_tokens": 4}
    answer = service.client.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert "8192" in answer.text


def test_after_a_swap_the_conversation_is_not_read_again(service: Service) -> None:
    prompt = "Once upon a time there was a small machine that wanted to talk. " * 30
    first = complete(service, prompt)
    service.client.post("/models/unload", json={"model": "local-chat"})
    again = complete(service, prompt)
    assert again["choices"][0]["text"] == first["choices"][0]["text"]
    cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["prompt_tokens"] - 64


def test_the_vectors_are_those_of_the_package_that_the_weights_came_in(service: Service) -> None:
    for query, prefix in ((True, "query: "), (False, "passage: ")):
        ours = embed(service, [prefix + folded(text) for text in PASSAGES])
        theirs = e5_vectors([folded(text) for text in PASSAGES], query=query)
        for text, mine, other in zip(PASSAGES, ours, theirs, strict=True):
            assert cosine(mine, other) >= 0.9999, text


def test_a_question_finds_its_passage_also_in_another_language(service: Service) -> None:
    passages = embed(service, [f"passage: {folded(text)}" for text in PASSAGES])
    for question, wanted in (("query: Which port?", {1}), ("query: 한국의 수도는?", {0, 2})):
        (asked,) = embed(service, [question])
        ranked = sorted(range(len(PASSAGES)), key=lambda n: -cosine(asked, passages[n]))
        assert ranked[0] in wanted


def test_speed_is_expected_and_measured(service: Service) -> None:
    complete(service, "A long story:", max_tokens=64, ignore_eos=True)
    service.client.post("/models/unload", json={"model": "local-chat"})
    speed = service.meta("local-chat")["tokens_per_second"]
    print(f"Gemma 3 270M: {speed['expected']:.1f} expected, {speed['measured']:.1f} measured")
    assert speed["expected"] > 0
    assert speed["measured"] > 0
