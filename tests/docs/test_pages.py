"""The documentation: every page is found from its index, and the generated ones are new."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from doc_pages import codes
from doc_pages.decisions import HEADING
from doc_pages.table import DOCS, made
from doc_pages.troubles import Language, troubles
from test_rooms import FLOORS

ROOT = DOCS.parent
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [
    path
    for path in (ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *ROOT.glob("*/*/README.md"))
    if path.is_file()
]
ALL = [*READMES, *PAGES, *OTHERS]
# What a user reads; the others are for people who change the suite.
FOR_USERS = [
    *READMES,
    *(p for p in PAGES if p.relative_to(DOCS).parts[0] not in {"decisions", "internals"}),
]

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[tuple[Path, str]]:
    """File and anchor of each link that stays in the project."""
    found = []
    for target in LINK.findall(prose(page)):
        if "://" not in target and not target.startswith("mailto:"):
            file, _, anchor = target.partition("#")
            found.append(((page.parent / file).resolve() if file else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    found: set[str] = set()
    for line in prose(page).splitlines():
        if title := re.match(r"#{1,6} +(.*)", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[1])
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            number = 1
            unique = slug
            while unique in found:
                unique, number = f"{slug}-{number}", number + 1
            found.add(unique)
    return found


@pytest.mark.parametrize("page", ALL, ids=name)
def test_each_link_leads_to_a_file_and_each_anchor_to_a_heading(page: Path) -> None:
    for file, anchor in links(page):
        assert file.exists(), f"{name(page)} links to {file}, which is not there"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name(page)}: no heading #{anchor} in {name(file)}"


def reachable_from(start: Path) -> set[Path]:
    seen, left = set(), [start]
    while left:
        page = left.pop()
        if page not in seen:
            seen.add(page)
            left += [file for file, _ in links(page) if file.suffix == ".md" and file.is_file()]
    return seen


def test_every_page_is_reachable_from_the_index() -> None:
    lost = set(PAGES) - reachable_from(DOCS / "README.md")
    assert not lost, f"link these from docs/README.md: {sorted(map(name, lost))}"


@pytest.mark.parametrize("readme", READMES, ids=name)
def test_both_readmes_lead_to_the_index(readme: Path) -> None:
    assert (DOCS / "README.md") in {file for file, _ in links(readme)}


@pytest.mark.parametrize(
    "page", [*FOR_USERS, ROOT / "CHANGELOG.md", ROOT / ".env.example"], ids=name
)
def test_a_users_page_names_no_decision_by_number_and_no_specification(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    numbered = re.findall(r"\bdecisions? \[?\d{3,4}|\b결정 \[?\d{3,4}", text, re.IGNORECASE)
    assert not numbered, "say what was decided, or link words to the record"
    assert "specification" not in text.lower()


@pytest.mark.parametrize("page", made())
def test_a_generated_page_is_what_its_maker_makes(page: str) -> None:
    assert (DOCS / page).is_file(), "run make docs"
    assert (DOCS / page).read_text(encoding="utf-8") == made()[page], "run make docs"


def test_no_page_of_a_client_is_left_without_a_maker() -> None:
    # The matrix is made from runs of the real clients.
    there = {f"clients/{path.name}" for path in (DOCS / "clients").glob("*.md")}
    assert there - {"clients/matrix.md"} <= made().keys()


@pytest.mark.parametrize("record", sorted((DOCS / "decisions").glob("[0-9]*.md")), ids=name)
def test_a_record_begins_with_its_number_and_what_was_decided(record: Path) -> None:
    first = record.read_text(encoding="utf-8").split("\n", 1)[0]
    heading = HEADING.fullmatch(first)
    assert heading, f"{first!r} is not '# {record.name[:4]}. What was decided'"
    assert heading[1] == record.name[:4]
    assert not heading[2][0].islower()
    assert f"]({record.name})" in (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")


SECTIONS = troubles()[0]


@pytest.mark.parametrize(
    ("kind", "there"), [("check", set(codes.checks())), ("error", codes.codes().keys())]
)
def test_each_check_and_each_error_code_is_explained_and_nothing_else(kind: str, there) -> None:
    assert len(there) > 15
    explained = [name for one in SECTIONS if one.kind == kind for name in one.names]
    assert len(explained) == len(set(explained))
    assert set(explained) - set(there) == set(), (
        "gone: take it out of tools/doc_pages/troubles.toml"
    )
    assert set(there) - set(explained) == set(), "new: explain it in tools/doc_pages/troubles.toml"


def test_each_check_stands_in_the_table_of_the_doctors_page() -> None:
    page = (DOCS / "guides" / "doctor.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| ([a-z-]+) \|", page, re.MULTILINE)) - {"check"}
    assert named == set(codes.checks())


def test_what_a_section_quotes_is_what_the_suite_says() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in codes.PACKAGE.rglob("*.py"))
    said = re.sub(r'"\s*f?"|\s+', " ", sources)
    assert len(quoted("en")) > 3
    assert [quote for quote in quoted("en") if quote not in said] == []


def test_what_a_korean_section_quotes_is_what_the_suite_says_in_korean() -> None:
    catalogue = codes.PACKAGE / "messages" / "locale" / "ko" / "LC_MESSAGES"
    said = (catalogue / "local_ai_suite.po").read_text(encoding="utf-8").replace('"\n"', "")
    assert len(quoted("ko")) > 3
    assert [quote for quote in quoted("ko") if quote not in said] == []


def quoted(language: Language) -> list[str]:
    """What stands in backticks as seen, without the numbers and names of the example."""
    return [
        part.strip()
        for one in SECTIONS
        for quote in re.findall(r"`([^`]+)`", one.sees[language])
        for part in re.split(r"\.\.\.|[\d.]+은?|\(\w+\)", quote)
        if len(part.split()) > 2
    ]


def test_both_languages_say_as_much() -> None:
    for one in SECTIONS:
        for texts in (one.sees, one.why, one.cure):
            assert texts["en"]
            assert texts["ko"]
            assert set(re.findall(r"`(lais [a-z-]+|make [a-z0-9-]+)", texts["en"])) == set(
                re.findall(r"`(lais [a-z-]+|make [a-z0-9-]+)", texts["ko"])
            ), one.names


def test_every_room_stands_on_its_floor_in_the_architecture() -> None:
    page = (DOCS / "internals" / "architecture.md").read_text(encoding="utf-8")
    told = {
        (int(floor), room)
        for floor, room in re.findall(r"^\| (\d) \| `(\w+)` \|", page, re.MULTILINE)
    }
    built = {
        (floor, room)
        for floor, rooms in FLOORS.items()
        for room in rooms
        if room.strip("_") == room
    }
    assert told == built


def test_the_architecture_tells_one_requests_life_in_eight_lines() -> None:
    page = (DOCS / "internals" / "architecture.md").read_text(encoding="utf-8")
    life = page.partition("## One request's life\n\n")[2].partition("\n\n##")[0].splitlines()
    assert [line[:2] for line in life] == [f"{number}." for number in range(1, 9)]
    named = {
        name for line in life for name in re.findall(r"`((?:gateway|engine)/[\w/]+\.py)`", line)
    }
    assert named
    assert all((codes.PACKAGE / name).is_file() for name in named)


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=name
)
def test_an_issue_form_has_what_github_wants(form: Path) -> None:
    # https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests
    data = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.name == "config.yml":
        assert set(data) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(data)
    for field in data["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert field["type"] == "markdown" or (field["id"] and field["attributes"]["label"])
    required = [f for f in data["body"] if f.get("validations", {}).get("required")]
    assert required


def test_each_file_and_target_that_contributing_names_is_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z][a-z0-9-]+)", page):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    homes = (ROOT, codes.PACKAGE)
    for file in re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py|\.env\.example)`", page):
        assert any((home / file).exists() for home in homes), file
