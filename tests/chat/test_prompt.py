"""What goes into a prompt: files in fences, cutting, and text that is safe on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.chat import budget
from local_ai_suite.chat.blocks import Blocks
from local_ai_suite.chat.budget import Prompt
from local_ai_suite.chat.sources import Source, compose, decode, shares
from local_ai_suite.errors import ContextOverflow, UsageError
from local_ai_suite.messages.plain import one_line, visible

if TYPE_CHECKING:
    from collections.abc import Sequence


def count(messages: Sequence[dict[str, Any]]) -> int:
    """A tokeniser of four characters a token, and four tokens of template a message."""
    return sum(len(m["content"]) // 4 + 4 for m in messages)


def test_a_fence_cannot_be_closed_by_the_file_inside() -> None:
    text = compose("q", [Source("notes.md", "```\ninner\n```\n````\nmore")])
    assert text.startswith("q\n\nnotes.md:\n`````md\n")
    assert text.endswith("\n`````")


def test_piped_text_alone_is_the_question_itself() -> None:
    assert compose("", [Source("standard input", "hello\n")]) == "hello"


@given(st.integers(0, 10_000), st.lists(st.integers(0, 5_000), max_size=8))
def test_shares_never_exceed_the_budget_nor_waste_it(budget_: int, sizes: list[int]) -> None:
    given_ = shares(budget_, sizes)
    assert sum(given_) <= budget_
    assert all(0 <= part <= size for part, size in zip(given_, sizes, strict=True))
    if sum(sizes) <= budget_:
        assert given_ == sizes
    elif sizes:
        assert budget_ - sum(given_) < len(sizes)


@given(
    st.lists(st.text(alphabet="ab \n", max_size=9000), min_size=1, max_size=4),
    st.integers(400, 4000),
)
def test_what_is_cut_fits_and_keeps_the_question(texts: list[str], context: int) -> None:
    sources = tuple(Source(f"f{number}", text) for number, text in enumerate(texts))
    prompt = Prompt((), "the question", sources)
    cut = budget.cut(prompt, context, count)
    assert count(cut.messages) + budget.LEAST_ANSWER <= context
    assert cut.question == "the question"
    for before, after in zip(sources, cut.sources, strict=True):
        assert before.text.startswith(after.text)
        assert (after.cut_from is None) == (after.text == before.text)


def test_old_turns_go_in_pairs_and_only_when_asked() -> None:
    turns = tuple(
        {"role": role, "content": f"{number} " * 200}
        for number in range(10)
        for role in ("user", "assistant")
    )
    prompt = Prompt(turns, "now")
    with pytest.raises(ContextOverflow) as caught:
        budget.check(prompt, 1000, count)
    assert "oldest turns" in caught.value.hint
    cut = budget.cut(prompt, 1000, count)
    assert 0 < len(cut.earlier) < len(turns)
    assert cut.dropped == len(turns) - len(cut.earlier)
    assert cut.earlier[0]["role"] == "user"


def test_a_question_that_is_too_long_alone_is_not_cut() -> None:
    with pytest.raises(ContextOverflow) as caught:
        budget.cut(Prompt((), "word " * 2000), 512, count)
    assert caught.value.details["context_tokens"] == 512


def test_an_unknown_context_or_a_server_that_cannot_count_checks_nothing() -> None:
    prompt = Prompt((), "word " * 2000)
    assert budget.check(prompt, None, count) is None
    assert budget.check(prompt, 10, lambda _: None) is None


def test_a_short_prompt_is_not_counted() -> None:
    def never(_: Sequence[dict[str, Any]]) -> int:
        raise AssertionError("counted")

    assert budget.check(Prompt((), "hi"), 4096, never) is None


@pytest.mark.parametrize(
    ("raw", "text", "note"),
    [
        (b"plain", "plain", ""),
        (b"\xef\xbb\xbfmark", "mark", ""),
        ("한글".encode("utf-16"), "한글", "read as UTF-16"),
        ("한글".encode("cp949"), "한글", "read as CP949"),
        (b"", "", ""),
    ],
)
def test_text_is_read_in_the_encodings_people_have(raw: bytes, text: str, note: str) -> None:
    source = decode(raw, "f")
    assert (source.text, source.note) == (text, note)


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xfe\x00", b"\xff\x80\xfe\xfa"])
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError, match="is not text"):
        decode(raw, "f")


def test_nothing_invisible_reaches_a_terminal() -> None:
    assert visible("\x1b]52;c;aGk=\x07") == "\\x1b]52;c;aGk=\\x07"
    assert visible("a\u202eb\u2066c\x9b31m") == "a\\u202eb\\u2066c\\x9b31m"
    assert visible("한국어 👩‍👩‍👧 é\ttab\nline") == "한국어 👩‍👩‍👧 é\ttab\nline"
    assert one_line("a\r\n\x1b[2Jb") == "a \\x1b[2Jb"


@given(st.text())
def test_visible_text_holds_no_control(text: str) -> None:
    shown = visible(text)
    assert not {c for c in shown if ord(c) < 32 and c not in "\n\t"}
    assert not set("\x7f\x9b\u202e\u2066") & set(shown)


MARKDOWN = """# Title

A paragraph
of two lines.

1. one

2. two

   more of two

After the list.

```python
x = 1

y = 2
```

~~~
```
~~~
The end."""


@given(st.lists(st.integers(1, 12), min_size=1))
def test_blocks_are_the_same_however_the_text_arrives(steps: list[int]) -> None:
    def cut_into(sizes: list[int]) -> list[str]:
        blocks, at, done = Blocks(), 0, []
        while at < len(MARKDOWN):
            size = sizes[at % len(sizes)]
            done += blocks.feed(MARKDOWN[at : at + size])
            at += size
        return [*done, *([last] if (last := blocks.close()) else [])]

    blocks = cut_into(steps)
    assert blocks == cut_into([len(MARKDOWN)])
    assert "1. one\n\n2. two\n\n   more of two" in blocks
    assert "```python\nx = 1\n\ny = 2\n```" in blocks
    assert "\n".join(blocks).replace("\n", "") == MARKDOWN.replace("\n", "")
