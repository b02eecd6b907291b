"""The sections: what each asks of the model, and the JSON schema that holds its answer.

The schemas are small on purpose: every text is short and every list bounded, so that the longest
answer that the grammar allows ends within the tokens that a 4k context leaves. What is a fact
(a path, a criterion, a size) is an enumeration that the program fills in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .issue import Issue
    from .survey import Survey

Schema = dict[str, Any]
LEVELS = ["low", "medium", "high"]
SIZES = ["S", "M", "L"]
KINDS = ["feature", "bug", "docs", "refactoring", "test", "chore"]
_EXTENSIONS = "py|md|sh|ya?ml|toml|json|ts|js|tsx|css|html|sql|go|rs|txt"


@dataclass(frozen=True, slots=True)
class Section:
    """``asks``: what to write, in English and Korean. ``evidence``: what of the survey it sees."""

    key: str
    asks: dict[str, str]
    schema: Callable[[Issue, Survey], Schema]
    evidence: tuple[str, ...]


def text(most: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most}


def several(item: Schema, low: int, high: int) -> Schema:
    return {"type": "array", "items": item, "minItems": low, "maxItems": high}


def one_of(values: list[str]) -> Schema:
    return {"type": "string", "enum": values}


def fields(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _analysis(_issue: Issue, _survey: Survey) -> Schema:
    return fields(
        type=one_of(KINDS),
        priority=one_of([*LEVELS, "critical"]),
        complexity=one_of(LEVELS),
        summary=text(160),
        requirements=several(text(90), 1, 5),
        constraints=several(text(90), 0, 3),
    )


def _investigation(_issue: Issue, survey: Survey) -> Schema:
    parts: dict[str, Schema] = {}
    if survey.candidates:
        area = fields(path=one_of(list(survey.candidates)), why=text(80))
        parts["areas"] = several(area, 1, 4)
    return fields(
        **parts,
        dependencies=several(text(70), 0, 4),
        unknowns=several(text(80), 0, 3),
    )


def _strategy(_issue: Issue, _survey: Survey) -> Schema:
    option = fields(
        name=text(40),
        approach=text(80),
        pros=several(text(50), 1, 2),
        cons=several(text(50), 1, 2),
        size=one_of(SIZES),
        risk=one_of(LEVELS),
    )
    return fields(options=several(option, 3, 3), choice=one_of(["A", "B", "C"]), why=text(120))


def _phases(_issue: Issue, _survey: Survey) -> Schema:
    task = fields(
        task=text(40),
        description=text(56),
        done=text(56),
        size=one_of(SIZES),
        risk=one_of(LEVELS),
    )
    return fields(phases=several(fields(name=text(30), tasks=several(task, 1, 2)), 2, 3))


def _risks(_issue: Issue, _survey: Survey) -> Schema:
    risk = fields(
        risk=text(70), likelihood=one_of(LEVELS), impact=one_of(LEVELS), mitigation=text(80)
    )
    return fields(risks=several(risk, 2, 4), rollback=several(text(80), 1, 3))


def _resources(_issue: Issue, _survey: Survey) -> Schema:
    return fields(
        skills=several(text(50), 1, 4), environment=several(text(50), 0, 3), buffer_reason=text(90)
    )


def _quality(issue: Issue, _survey: Survey) -> Schema:
    scenario = fields(title=text(50), given=text(70), when=text(70), then=text(70))
    parts: dict[str, Schema] = {"scenarios": several(scenario, 1, 3)}
    if marks := criteria(issue):
        parts["performance"] = several(one_of(list(marks)), 0, min(3, len(marks)))
    return fields(**parts, checks=several(text(60), 1, 3))


def _communication(_issue: Issue, _survey: Survey) -> Schema:
    moments = ["at_start", "each_phase", "when_blocked", "at_end"]
    update = fields(when=one_of(moments), what=text(80))
    return fields(
        audience=several(text(40), 1, 3), updates=several(update, 1, 4), message=text(120)
    )


def _files(_issue: Issue, survey: Survey) -> Schema:
    folders = folders_of(survey)
    name = {"type": "string", "pattern": f"^[a-z][a-z0-9_-]{{1,24}}\\.({_EXTENSIONS})$"}
    parts: dict[str, Schema] = {}
    if survey.candidates:
        change = fields(path=one_of(list(survey.candidates)), what=text(60))
        parts["change"] = several(change, 0, 5)
    make = fields(folder=one_of(folders), name=name, what=text(60))
    return fields(**parts, make=several(make, 0, 4))


def outline(schema: Schema) -> str:
    """The form of the answer for the prompt: a grammar holds the model, but doesn't tell it.

    ``{"type": feature|bug, "requirements": [text, at most 5]}``
    """
    if schema["type"] == "object":
        inner = (f'"{name}": {outline(one)}' for name, one in schema["properties"].items())
        return "{" + ", ".join(inner) + "}"
    if schema["type"] == "array":
        low, high = schema["minItems"], schema["maxItems"]
        count = f"exactly {high}" if low == high else f"at most {high}"
        return f"[{outline(schema['items'])}, {count}]"
    if "enum" in schema:
        return "|".join(schema["enum"])
    return "name.ending" if "pattern" in schema else "text"


def criteria(issue: Issue) -> dict[str, str]:
    """The issue's measurable lines by a letter and number: ``C1`` ... ``C9``."""
    return {f"C{number}": line for number, line in enumerate(issue.measured[:9], 1)}


def folders_of(survey: Survey) -> list[str]:
    """The folders that a new file may go to: around the candidates, then the top ones."""
    around = [path.rpartition("/")[0] or "." for path in survey.candidates]
    top = [folder for folder in survey.folders if folder.count("/") == 0]
    return list(dict.fromkeys([*around, *top, "."]))[:16]


SECTIONS: tuple[Section, ...] = (
    Section(
        "analysis",
        {
            "en": "What does the issue ask for? Its type, priority and complexity, a summary, the "
            "requirements and the constraints.",
            "ko": "이슈가 무엇을 요구합니까? 유형, 우선순위, 복잡도, 요약, 요구사항, "
            "제약 조건을 쓰십시오.",
        },
        _analysis,
        ("tree",),
    ),
    Section(
        "investigation",
        {
            "en": "Which files are affected and why, what does the work depend on, what must "
            "still be found out?",
            "ko": "영향을 받는 파일과 이유, 작업이 의존하는 것, 더 확인할 점을 쓰십시오.",
        },
        _investigation,
        ("named", "hits", "tree", "log"),
    ),
    Section(
        "strategy",
        {
            "en": "Three different ways to solve it (A, B, C), each with pros, cons, size and "
            "risk; then the choice and why.",
            "ko": "서로 다른 세 방안(A, B, C)과 각각의 장점, 단점, 크기, 위험을 쓰고, "
            "하나를 골라 이유를 쓰십시오.",
        },
        _strategy,
        ("hits",),
    ),
    Section(
        "phases",
        {
            "en": "The chosen way in two or three phases, each with one or two small tasks and how "
            "one sees that a task is done.",
            "ko": "선택한 방안을 두세 단계로 나누고, 단계마다 작은 작업 한두 개와 "
            "완료 기준을 쓰십시오.",
        },
        _phases,
        ("tree",),
    ),
    Section(
        "risks",
        {
            "en": "What can go wrong, how likely and how bad, what to do about it; and how to undo "
            "the change.",
            "ko": "무엇이 잘못될 수 있는지, 가능성과 영향, 대응, 그리고 되돌리는 방법을 쓰십시오.",
        },
        _risks,
        (),
    ),
    Section(
        "resources",
        {
            "en": "Which skills and which environment does the work need, and why does it need a "
            "buffer?",
            "ko": "필요한 역량과 환경, 일정에 버퍼가 필요한 이유를 쓰십시오.",
        },
        _resources,
        (),
    ),
    Section(
        "quality",
        {
            "en": "Test scenarios (Given, When, Then), which of the issue's criteria measure the "
            "performance, and what to check by hand.",
            "ko": "테스트 시나리오(Given, When, Then), 성능을 재는 이슈의 기준, "
            "직접 확인할 것을 쓰십시오.",
        },
        _quality,
        ("criteria",),
    ),
    Section(
        "communication",
        {
            "en": "Who needs to know, what to tell them when, and a message to the owner of the "
            "issue.",
            "ko": "누구에게 언제 무엇을 알릴지, 그리고 이슈 담당자에게 보낼 말을 쓰십시오.",
        },
        _communication,
        (),
    ),
    Section(
        "files",
        {
            "en": "Which existing files are changed, which new files are made, and for what?",
            "ko": "바꿀 기존 파일과 새로 만들 파일, 그 이유를 쓰십시오.",
        },
        _files,
        ("named", "tree"),
    ),
)
