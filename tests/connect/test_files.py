"""Other programs' files: one value changed, everything else kept, and back again."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.connect import changes, formats, jsonc
from local_ai_suite.connect.path import Edit, Item
from local_ai_suite.errors import UsageError

EDITS = [
    Edit(("provider", "ours"), {"url": "http://localhost:8000/v1", "list": [1, {"a": None}]}),
    Edit(("model",), "ours/chat", only_if_absent=True),
]

JSONC = """\
// my settings
{
    "theme": "dark", // the best one
    /* providers */
    "provider": {
        "other": {"url": "https://example.org"}, // keep
    },
    "model": "other/large"
}
"""
YAML = """\
# my settings
name: "Mine"   # quoted on purpose
models:
# the first one
- name: other
  apiBase: 'https://example.org'
  long: a very long line that must not be folded at eighty characters, whatever a library likes
- name: second
"""
TOML = """\
# my settings
model = "gpt"   # mine

[model_providers.other]
base_url = 'https://example.org'
"""

scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=6), trees, max_size=5)


@given(objects, st.sampled_from([None, 1, 2, 4, "\t"]), trees, st.booleans())
def test_any_json_object_takes_and_gives_back_a_value(
    data: dict[str, Any], indent: int | str | None, value: Any, windows: bool
) -> None:
    data.pop("ours", None)
    text = json.dumps(data, indent=indent, ensure_ascii=False)
    if windows:
        text = text.replace("\n", "\r\n")
    put = jsonc.put(text, ("ours", "deep"), value)
    assert jsonc.load(put) == {**data, "ours": {"deep": value}}
    assert json.loads(put) == jsonc.load(put)  # no trailing comma where there was none
    assert jsonc.put(put, ("ours", "deep"), value) == put
    assert jsonc.load(jsonc.remove(put, ("ours",))) == data
    for key in data:
        left = jsonc.load(jsonc.remove(put, (key,)))
        assert left == {**{k: v for k, v in data.items() if k != key}, "ours": {"deep": value}}


@given(st.lists(objects, max_size=4), st.sampled_from([None, 2]))
def test_any_json_list_takes_and_gives_back_an_item(data: list[Any], indent: int | None) -> None:
    data = [{**item, "id": f"other {number}"} for number, item in enumerate(data)]
    ours = {"id": "ours", "x": 1}
    put = jsonc.put(json.dumps(data, indent=indent), (Item("id", "ours"),), ours)
    assert jsonc.load(put) == [*data, ours]
    again = jsonc.put(put, (Item("id", "ours"), "x"), 2)
    assert jsonc.load(again) == [*data, {**ours, "x": 2}]
    assert jsonc.load(jsonc.remove(put, (Item("id", "ours"),))) == data


@given(st.text(max_size=60) | st.text(alphabet='{}[]",:/*0 \n\\a', max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(jsonc.JsoncError):  # and nothing else
        jsonc.load(text)


@pytest.mark.parametrize(
    ("format_", "text", "edits"),
    [
        ("jsonc", JSONC, EDITS),
        ("yaml", YAML, [Edit(("models", Item("name", "ours")), {"name": "ours", "roles": ["x"]})]),
        ("toml", TOML, [Edit(("model_providers", "ours"), {"base_url": "http://localhost"})]),
        ("dotenv", "# mine\nA=1 # one\nexport B='two'\n", [Edit(("OURS",), "http://x/v1")]),
    ],
)
def test_every_line_that_was_there_stays_and_comes_back(
    format_: formats.Format, text: str, edits: list[Edit]
) -> None:
    after, made = formats.apply(format_, text, edits)
    assert [line for line in text.splitlines() if line not in after.splitlines()] in (
        [],
        ['    "model": "other/large"'],
    )
    assert made[0] == edits[0]
    assert formats.apply(format_, after, edits)[0] == after
    assert formats.load(format_, formats.remove(format_, after, made)) == formats.load(
        format_, text
    )
    for comment in ("# mine", "// the best one", "# the first one", "# quoted on purpose"):
        assert (comment in text) == (comment in after)


def test_a_default_of_the_users_own_stays() -> None:
    after, made = formats.apply("jsonc", JSONC, EDITS)
    assert jsonc.load(after)["model"] == "other/large"
    assert [edit.path for edit in made] == [("provider", "ours")]


def test_toml_stays_valid_for_other_readers() -> None:
    edits = [
        Edit(("model_provider",), "ours"),
        Edit(("model_providers", "ours"), {"base_url": "x", "n": 3}),
    ]
    for text in ("", TOML, "[section]\na = 1\n"):
        data = tomllib.loads(formats.apply("toml", text, edits)[0])
        assert data["model_provider"] == "ours"
        assert data["model_providers"]["ours"] == {"base_url": "x", "n": 3}


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("jsonc", '{"a": 1'),
        ("jsonc", '{"provider": "text"}'),
        ("jsonc", "[1]"),
        ("yaml", "a: [1"),
        ("yaml", "a:\n\t- b"),
        ("toml", "a = "),
        ("toml", "provider = 1"),
    ],
)
def test_a_file_that_is_wrong_is_named_and_left_alone(
    tmp_path: Path, format_: formats.Format, text: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageError, match="cannot be changed safely") as caught:
        changes.plan(path, format_, EDITS)
    assert str(path) in caught.value.message
    assert path.read_text() == text


def connect(path: Path, ledger: Path, edits: list[Edit] = EDITS) -> list[Path]:
    return changes.write([changes.plan(path, "jsonc", edits)], ledger)


def test_the_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path, ledger = tmp_path / "settings.json", tmp_path / "state" / "editor.json"
    before = JSONC.replace("\n", "\r\n").encode()
    path.write_bytes(before)
    path.chmod(0o640)
    (backup,) = connect(path, ledger)
    assert backup.read_bytes() == before
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert connect(path, ledger) == []  # idempotent: nothing to write, no new backup
    other = [Edit(("provider", "ours"), {"url": "http://localhost:9000/v1"})]
    connect(path, ledger, other)  # connected again with other values
    assert [one.how for one in changes.restore(ledger)] == ["as it was"]
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="not connected"):
        changes.restore(ledger)


def test_a_file_that_was_made_is_removed_and_one_changed_since_loses_only_ours(
    tmp_path: Path,
) -> None:
    path, ledger = tmp_path / "sub" / "settings.json", tmp_path / "state" / "editor.json"
    connect(path, ledger)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.how for one in changes.restore(ledger)] == ["removed"]
    assert not path.exists()
    connect(path, ledger)
    path.write_text(jsonc.put(path.read_text(), ("mine",), True))
    assert [one.how for one in changes.restore(ledger)] == ["ours taken out"]
    assert jsonc.load(path.read_text()) == {"provider": {}, "mine": True}
    connect(path, ledger)
    path.unlink()
    assert [one.how for one in changes.restore(ledger)] == ["already gone"]


@pytest.mark.parametrize("existed", [False, True])
def test_what_others_wrote_between_two_connects_is_kept(tmp_path: Path, existed: bool) -> None:
    path, ledger = tmp_path / "settings.json", tmp_path / "state" / "editor.json"
    if existed:
        path.write_text('{"old": 1}')
    connect(path, ledger)
    path.write_text('{"theirs": 2}')  # the client wrote its own settings when it ended
    connect(path, ledger)
    connect(path, ledger, [*EDITS, Edit(("provider", "more"), 1)])
    assert [one.how for one in changes.restore(ledger)] == ["ours taken out"]
    left = jsonc.load(path.read_text())
    assert left.pop("provider", {}) == {}
    assert left == {"theirs": 2}


def test_a_value_that_was_set_once_is_taken_out_after_connecting_twice(tmp_path: Path) -> None:
    path, ledger = tmp_path / "settings.json", tmp_path / "state" / "editor.json"
    default = Edit(("model",), "ours", only_if_absent=True)
    connect(path, ledger, [*EDITS, default])
    path.write_text(jsonc.put(path.read_text(), ("mine",), True))
    connect(path, ledger, [Edit(("provider", "ours"), {"url": "other"}), default])
    changes.restore(ledger)
    assert jsonc.load(path.read_text()) == {"provider": {}, "mine": True}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, path = tmp_path / "dotfiles" / "settings.json", tmp_path / "settings.json"
    target.parent.mkdir()
    target.write_text("{}")
    path.symlink_to(target)
    connect(path, tmp_path / "state" / "editor.json")
    assert path.is_symlink()
    assert "ours" in target.read_text()
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a link to"):
        changes.plan(dangling, "jsonc", EDITS)


def test_what_cannot_be_read_or_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ledger = tmp_path / "settings.json", tmp_path / "state" / "editor.json"
    path.write_bytes(b"x" * (9 << 20))
    with pytest.raises(UsageError, match="larger than 8 MiB"):
        changes.plan(path, "jsonc", EDITS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        changes.plan(path, "jsonc", EDITS)
    with pytest.raises(UsageError, match="cannot be read"):
        changes.plan(tmp_path, "jsonc", EDITS)
    path.write_text("{}")
    plan = changes.plan(path, "jsonc", EDITS)
    # The superuser may write anywhere, so the answer of the system is given here.
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != path and real(p, mode))
    with pytest.raises(UsageError, match="it is read-only"):
        changes.write([plan], ledger)
    assert path.read_text() == "{}"
    assert not ledger.exists()


def test_a_failure_in_the_middle_puts_everything_back(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(JSONC)
    second.write_text("{}")
    new = tmp_path / "c.json"
    plans = [changes.plan(path, "jsonc", EDITS) for path in (first, new, second)]
    second.write_text('{"changed": "meanwhile"}')
    with pytest.raises(UsageError, match="changed by another program"):
        changes.write(plans, tmp_path / "state" / "editor.json")
    assert first.read_text() == JSONC
    assert not new.exists()
    assert second.read_text() == '{"changed": "meanwhile"}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json", "state"]
