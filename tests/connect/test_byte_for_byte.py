"""Random files full of comments, in every format: what is not ours stays byte for byte, through
connect and disconnect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_ai_suite.connect import formats, jsonc
from local_ai_suite.connect.path import Edit, Item

# Words that look like the formats' own signs inside of a comment.
remarks = st.lists(
    st.sampled_from(
        ["keep", "a, b", "[x]", "{y}", "key: v", "= 1", '"', "- z", "ours", "é漢", "\u2028"]
    ),
    min_size=1, max_size=3,
).map(" ".join)  # fmt: skip
names = st.sampled_from(["alpha", "beta", "gamma", "delta", "Größe"])
values = st.sampled_from(["1", "true", '"text"', '"a, b # c // d"', "'one'", '"\u2028"'])


@st.composite
def json_files(draw: st.DrawFn) -> str:
    """An object of several lines, with comments before, beside, behind and between."""
    keys = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ends_with_comma = draw(st.booleans())
    lines = ["{"]
    for number, key in enumerate(keys):
        if draw(st.booleans()):
            lines.append(f"  // {draw(remarks)}")
        value = draw(values).replace("'", '"')
        is_last = number == len(keys) - 1
        comma = "," if not is_last or ends_with_comma else ""
        between = f" /* {draw(remarks)} */ " if draw(st.booleans()) else ""
        behind = f" // {draw(remarks)}" if draw(st.booleans()) else ""
        lines.append(f"  {json.dumps(key, ensure_ascii=False)}: {value}{between}{comma}{behind}")
    if draw(st.booleans()):
        lines.append(f"  /* {draw(remarks)} */")
    return "\n".join([*lines, "}", *draw(st.lists(remarks.map("// {}".format), max_size=1)), ""])


@st.composite
def yaml_files(draw: st.DrawFn) -> str:
    """A mapping with a list of mappings in it, in one of the ways to indent."""
    comments = st.lists(remarks.map("# {}".format), max_size=2)
    gap = " " * draw(st.sampled_from([0, 2, 4]))
    lines = draw(comments)
    for key in draw(st.lists(names, max_size=2, unique=True)):
        lines += draw(comments)
        lines.append(f"{key}:   {draw(values)}" + draw(st.sampled_from(["", "   # beside"])))
    if draw(st.booleans()):
        lines += ["text: |", "  # no comment", "", "  models: none", ""]
    lines.append("models:" + draw(st.sampled_from(["", " # all of them"])))
    for number in range(draw(st.integers(1, 3))):
        lines += [gap + line for line in draw(comments)]
        lines.append(f"{gap}- name: other {number}")
        lines += draw(st.sampled_from([[], [f"{gap}  roles: [chat,   edit]  # flow"], [""]]))
        lines += [f"{gap}  # {draw(remarks)}"] * draw(st.integers(0, 1))
        if draw(st.booleans()):
            lines += [f"{gap}  prompt: >-", f"{gap}    # a text", f"{gap}    goes on", ""]
    if draw(st.booleans()):
        lines += ["", *draw(comments), "last: 'one'"]
    text = "\n".join([*lines, *draw(comments), ""])
    return text.replace("\u2028", "")  # a line's end in YAML 1.1


@st.composite
def toml_files(draw: st.DrawFn) -> str:
    """A head and some tables, with comments that belong to what follows."""
    comments = st.lists(remarks.map("# {}".format), max_size=2)
    lines = draw(comments)
    for key in draw(st.lists(names.filter(str.isascii), max_size=2, unique=True)):
        lines += draw(comments)
        lines.append(f"{key}   = {draw(values)}" + draw(st.sampled_from(["", "  # [beside]"])))
    if draw(st.booleans()):
        lines += ['long = """', "[no.table]", "# no comment", '"""', "list = [", "  [1],", "]"]
    for key in draw(st.lists(st.sampled_from(["a", "other.x", "providers.x"]), unique=True)):
        lines += ["", *draw(comments), f"[ {key} ]" if draw(st.booleans()) else f"[{key}]"]
        lines += [f"value = {draw(values)} # {draw(remarks)}"] * draw(st.integers(0, 1))
    return "\n".join([*lines, *draw(comments), ""])


@st.composite
def dotenv_files(draw: st.DrawFn) -> str:
    lines = []
    for key in draw(st.lists(st.sampled_from(["A", "B", "LONG"]), unique=True)):
        lines += draw(st.lists(remarks.map("# {}".format), max_size=2))
        value = draw(st.sampled_from(["1", "'x'", "'one\nOURS=no\ntwo'", '"a # b"', "a # b"]))
        lines.append(draw(st.sampled_from(["", "export "])) + f"{key}={value}")
    return "\n".join([*lines, *draw(st.lists(remarks.map("# {}".format), max_size=1)), ""])


OURS = {"name": "ours", "apiBase": "http://localhost:8000/v1", "roles": ["chat", "edit"]}
FORMATS: dict[str, tuple[st.SearchStrategy[str], list[Edit]]] = {
    "jsonc": (json_files(), [Edit(("ours",), OURS), Edit(("model",), "ours/chat")]),
    "yaml": (
        yaml_files(),
        [Edit(("models", Item("name", "ours")), OURS), Edit(("model",), "openai/local-chat")],
    ),
    "toml": (
        toml_files(),
        [Edit(("model",), "local: \u00e9"), Edit(("providers", "ours"), {"base_url": "x", "n": 3})],
    ),
    "dotenv": (dotenv_files(), [Edit(("OURS",), "http://localhost:8000/v1")]),
}


def without(after: str, before: str) -> str | None:
    """What was put into ``before`` to make ``after`` of it; ``None`` if more was done than that."""
    inserted, at = [], 0
    for character in after:
        if at < len(before) and character == before[at]:
            at += 1
        else:
            inserted.append(character)
    return "".join(inserted) if at == len(before) else None


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_not_ours_stays_byte_for_byte(format_: Any, windows: bool) -> None:
    files, edits = FORMATS[format_]

    @settings(max_examples=15, deadline=None)
    @given(files)
    def holds(text: str) -> None:
        text = text.replace("\n", "\r\n") if windows else text
        before = formats.load(format_, text)
        after, made = formats.apply(format_, text, edits)
        assert without(after, text) is not None, "only added to"
        assert not text or "\n" not in after.replace("\r\n", "") or not windows
        assert formats.apply(format_, after, edits)[0] == after, "connected again: nothing to do"
        gone = formats.remove(format_, after, made)
        assert gone == text
        assert formats.load(format_, gone) == before

    holds()


@pytest.mark.parametrize("format_", FORMATS)
def test_another_value_of_ours_moves_nothing_else(format_: Any) -> None:
    files, edits = FORMATS[format_]

    def other(value: Any) -> Any:
        return {**value, next(iter(value)): "ours"} if isinstance(value, dict) else "http://other"

    changed = [Edit(edit.path, other(edit.value)) for edit in edits]

    @settings(max_examples=10, deadline=None)
    @given(files)
    def holds(text: str) -> None:
        once, _ = formats.apply(format_, text, edits)
        twice, made = formats.apply(format_, once, changed)
        assert formats.remove(format_, twice, made) == text

    holds()


def test_a_comma_in_a_comment_is_not_the_separator() -> None:
    text = '{\n  "a": 1, // one, two\n  // three, four\n  "ours": 2\n}\n'
    assert jsonc.remove(text, ("ours",)) == '{\n  "a": 1 // one, two\n  // three, four\n}\n'


def test_a_comment_before_our_comma_stays() -> None:
    text = '{\n  "ours": 2 /* mine */,\n  "a": 1\n}\n'
    assert jsonc.remove(text, ("ours",)) == '{\n   /* mine */\n  "a": 1\n}\n'


def test_comments_after_our_item_and_before_the_next_section_stay_where_they_are() -> None:
    yaml = "models:\n- name: other\n- name: ours\n# the user's own\nnext: 1\n"
    taken = formats.remove("yaml", yaml, [Edit(("models", Item("name", "ours")), {"name": "ours"})])
    assert taken == "models:\n- name: other\n# the user's own\nnext: 1\n"
    toml = "[p.other]\na = 1\n\n# of the next\n[next]\nb = 2\n"
    put, made = formats.apply("toml", toml, [Edit(("p", "ours"), {"c": 3})])
    assert put == toml + "\n[p.ours]\nc = 3\n"
    below = put + "# mine\n"
    assert formats.remove("toml", below, made).startswith(toml)
    assert formats.remove("toml", below, made).endswith("# mine\n")


@pytest.mark.parametrize(
    ("format_", "text", "edit"),
    [
        ("yaml", "models: [{name: other}] # flow\n", Edit(("models", Item("name", "ours")), OURS)),
        ("yaml", "models: []\n", Edit(("models", Item("name", "ours")), OURS)),
        ("yaml", "models:\nnext: 1\n", Edit(("models", Item("name", "ours")), OURS)),
        ("yaml", "", Edit((Item("model_id", "ours"),), {"model_id": "ours"})),
        ("yaml", "{a: 1}\n", Edit(("b",), "c")),
        ("toml", "p = {other = {a = 1}} # inline\n", Edit(("p", "ours"), {"c": 3})),
        ("toml", "p.other.a = 1\n", Edit(("p", "ours"), {"c": 3})),
        ("toml", 'model = """\na\n"""\n', Edit(("model",), "b")),
    ],
)
def test_a_form_that_lines_do_not_fit_is_changed_by_its_library(
    format_: Any, text: str, edit: Edit
) -> None:
    before = formats.load(format_, text)
    after, made = formats.apply(format_, text, [edit])
    assert made == [edit]
    left = formats.load(format_, formats.remove(format_, after, made))
    for key, value in before.items() if isinstance(before, dict) else ():
        assert left.get(key) == value or edit.path[0] == key


def test_a_broken_env_of_a_client_is_not_called_the_projects() -> None:
    with pytest.raises(ValueError, match="line 2") as caught:
        formats.load("dotenv", "A=1\nno equals sign here\n")
    assert ".env" not in str(caught.value)
