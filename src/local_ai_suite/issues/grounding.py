"""Hold what a model wrote against what is known.

A sentence is left out when it names a file that isn't there, a number, a date, an address, a person
or another issue that occurs neither in the issue nor in the survey. The program fills such facts in
itself, where they belong. Characters that can't be seen are taken out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .survey import PATH

if TYPE_CHECKING:
    from .survey import Survey

_SENTENCE = re.compile(r"(?<=[.!?。])\s+|\n+")
# A word with a digit in it: 30, 1.5, P95, 2026-11-23, v2, 30초.
_NUMBERED = re.compile(r"[A-Za-z_]*\d[\w.,:%-]*")
_ADDRESS = re.compile(r"\w+://\S+|www\.\S+", re.IGNORECASE)
_PERSON = re.compile(r"(?<![\w/])@[A-Za-z0-9][\w-]*")
_ISSUE = re.compile(r"(?<![\w&])#\d+|\bGH-\d+", re.IGNORECASE)
_HTML = re.compile(r"<[^>]*>|<!--.*", re.DOTALL)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_ENDING = ".,:;)"
_PRODUCTS = frozenset({"llama.cpp", "whisper.cpp", "node.js", "next.js", "vue.js", "three.js"})
_ENDINGS = frozenset(
    """
    py pyi ipynb md rst txt sh bash ps1 bat cmd yml yaml toml json jsonl jsonc ini cfg conf env lock
    js mjs cjs jsx ts tsx vue svelte css scss html htm xml svg sql csv tsv c h cc cpp cxx hpp rs go
    java kt kts swift rb php pl lua r jl cs fs scala ex exs erl hs clj dart zig nim proto graphql
    tf hcl mk cmake gradle gguf bin safetensors onnx pt log db sqlite zip tar gz exe dll so service
    """.split()  # noqa: SIM905 (a list of words is read best as words)
)


@dataclass(slots=True)
class Grounding:
    """What may be named. ``dropped``: what was left out, and why, in order."""

    survey: Survey
    known: frozenset[str]
    numbers: frozenset[str]
    source: str
    dropped: list[dict[str, str]] = field(default_factory=list)

    def check(self, where: str, text: str) -> str:
        """``text`` without the sentences that don't hold; may be empty."""
        kept = []
        for part in _SENTENCE.split(visible(text)):
            sentence = " ".join(part.split())
            if not sentence:
                continue
            reason = self._objection(sentence)
            if reason:
                self.dropped.append({"where": where, "text": sentence, "reason": reason})
            else:
                kept.append(self._without_slashes(sentence))
        return " ".join(kept)

    def check_all(self, where: str, value: Any) -> Any:
        """The same for every text inside ``value``; texts that end empty leave their list."""
        if isinstance(value, str):
            return self.check(where, value)
        if isinstance(value, list):
            checked = [self.check_all(where, item) for item in value]
            return [item for item in checked if item not in ("", {})]
        if isinstance(value, dict):
            return {key: self.check_all(f"{where}.{key}", item) for key, item in value.items()}
        return value

    def _objection(self, sentence: str) -> str:
        if _ADDRESS.search(sentence):
            return "an address"
        if _HTML.search(sentence):
            return "markup"
        if _PERSON.search(sentence):
            return "a person"
        if any(found not in self.source for found in _ISSUE.findall(sentence)):
            return "an issue that is not mentioned"
        for path in PATH.findall(sentence):
            named = path.rstrip(_ENDING)
            if _is_file(named) and not self._is_known(named):
                return f"a file that is not there: {named}"
        for number in _NUMBERED.findall(sentence):
            if number.rstrip(_ENDING).lower() not in self.numbers:
                return f"a number that is not in the issue: {number}"
        return ""

    def _is_known(self, named: str) -> bool:
        """A file of the repository by its path or its unique name; or a word with a dot."""
        if named.strip("/").removeprefix("./") in self.known:
            return True
        return "/" not in named and any(file.endswith(f"/{named}") for file in self.survey.files)

    def _without_slashes(self, sentence: str) -> str:
        """``read/write`` becomes ``read / write``, so that it names no folder that isn't there."""

        def spaced(match: re.Match[str]) -> str:
            named = match[1].rstrip(_ENDING)
            return match[0] if self._is_known(named) else match[0].replace("/", " / ")

        return PATH.sub(spaced, sentence)


def _is_file(named: str) -> bool:
    """With the ending of a file, or with folders and any ending; ``e.g.`` and llama.cpp aren't."""
    ending = re.search(r"\.([A-Za-z]\w{0,7})$", named)
    if not ending or named.lower() in _PRODUCTS:
        return False
    return "/" in named or ending[1].lower() in _ENDINGS


def grounding_of(survey: Survey, *sources: str) -> Grounding:
    """What may be named: the survey's files, and the numbers in ``sources``."""
    text = "\n".join([*sources, *survey.files, *(commit.subject for commit in survey.log)])
    numbers = {found.rstrip(_ENDING).lower() for found in _NUMBERED.findall(text)}
    # "30초" in the issue also allows "30".
    numbers |= {
        bare[0] for number in list(numbers) if (bare := re.match(r"\d[\d.,]*\d|\d", number))
    }
    known = frozenset(survey.files) | frozenset(survey.folders)
    return Grounding(survey, known, frozenset(numbers), text)


def visible(text: str) -> str:
    """``text`` without characters that can't be seen; newlines stay."""
    return "".join(
        character
        for character in text
        if character == "\n" or unicodedata.category(character) not in _UNSEEN
    )
