"""What the pages for users tell people to type is there: commands, options, targets, settings."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest
from test_pages import DOCS, FENCE, FOR_USERS, ROOT, name, prose

from local_ai_suite.cli.main import VERBS, lais
from local_ai_suite.settings import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TARGETS = {
    *re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE),
    *(f"bench-{path.stem.removeprefix('bench_')}" for path in ROOT.glob("benchmarks/bench_*.py")),
}
# Made from the commands themselves, with placeholders in capitals.
GENERATED = {DOCS / "reference" / "cli.md"}
PAGES = [page for page in FOR_USERS if page not in GENERATED]
# Other programs' variables, which the pages name beside the suite's settings.
FOREIGN = {
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "XDG_STATE_HOME", "XDG_CONFIG_HOME",
    "LC_ALL", "LC_MESSAGES", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL",
    "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "GH_HOST",
}  # fmt: skip
OWN = {"LAIS_STATE", "LAIS_LANG", "LAIS_USER", "PYTHON_IMAGE", "ENGINE_IMAGE", "ENGINE_CUDA_IMAGE",
       "INFERENCE_TARGET"}  # fmt: skip


def said(page: Path) -> list[str]:
    """Each piece of code: what stands in backticks, and each line of a block for a shell."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [line.removeprefix("$ ") for line in lines] + inline


def commands(page: Path) -> Iterator[list[str]]:
    """The words after each `lais`."""
    for piece in said(page):
        found = re.search(r"(?:^|/|\s)lais (.+)", piece)
        if found and "--help" not in found[1].split()[:1]:
            yield shlex.split(found[1].replace("'", "’"), posix=True)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_command_and_each_option_is_there(page: Path) -> None:
    for words in commands(page):
        context, command = click.Context(lais, info_name="lais"), lais
        known = {option for param in command.params for option in param.opts}
        for word in words:
            if word in {"|", ">", "&&", "..."}:
                break
            if word.startswith("-"):
                options = known | {"--help", "-h"}
                assert word.split("=")[0] in options, f"{name(page)}: lais {' '.join(words)}"
            elif isinstance(command, click.Group) and not word.isupper():
                inner = command.get_command(context, word.rstrip(",.;:"))
                if word.isascii():  # else a placeholder, in Korean
                    assert inner is not None, f"{name(page)}: lais {' '.join(words)}"
                if inner is not None:
                    command = inner
                    known |= {option for param in inner.params for option in param.opts}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_target_of_make_is_there(page: Path) -> None:
    named = {found[1] for piece in said(page) if (found := re.match(r"make ([a-z0-9-]+)", piece))}
    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_setting_is_there(page: Path) -> None:
    named = {
        found[1]
        for piece in said(page)
        if (found := re.match(r"([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=\S*)?$", piece))
    }
    assert named <= KEYS.keys() | FOREIGN | OWN


def test_the_pages_tell_much_that_can_be_typed() -> None:
    typed = {words[0] for page in PAGES for words in commands(page)}
    assert len(typed & set(VERBS)) > 15


TWINS = [page for page in FOR_USERS if page.name.endswith(".ko.md") and page.parent != ROOT]


def typed(page: Path) -> list[str]:
    """The lines of all blocks of code, without their comments."""
    blocks = re.findall(
        r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = [re.sub(r"(^|\s+)#\s.*", "", line).rstrip() for b in blocks for line in b.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("page", TWINS, ids=name)
def test_a_korean_page_tells_people_to_type_what_its_english_twin_does(page: Path) -> None:
    twin = page.with_name(page.name.replace(".ko.md", ".md"))
    assert typed(page) == typed(twin)
    for one, other in ((page, twin), (twin, page)):
        assert f"]({other.name})" in one.read_text(encoding="utf-8"), f"{name(one)} has no link"


@pytest.mark.parametrize("page", TWINS, ids=name)
def test_a_korean_page_has_the_sections_and_rows_of_its_english_twin(page: Path) -> None:
    twin = page.with_name(page.name.replace(".ko.md", ".md"))
    shapes = (r"^#+ ", r"^\|", r"^- ", r"^\*\*")
    korean, english = (
        [len(re.findall(shape, prose(one), re.MULTILINE)) for shape in shapes]
        for one in (page, twin)
    )
    assert korean == english
