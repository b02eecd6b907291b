"""Read ``.env`` exactly as Docker Compose reads it.

One file serves both runtimes, so it must mean the same in both. The format is that of compose-go's
``dotenv`` and ``template`` packages (v2), ported rule by rule, oddities included; each rule is
compared with the real ``docker compose config`` in ``tests/settings``:

- ``KEY=value`` or ``KEY: value``, spaces around the separator, ``export`` before it; a key is
  letters and digits of any script, ``_ . - [ ]``.
- No quotes: up to the end of the line or ``" #"`` (a space, then ``#``), right-trimmed, expanded.
  ``KEY= # text`` is therefore the text ``# text``, in Compose too.
- ``'single'``: as it stands, over several lines too; ``\\'`` is a quote. No expansion.
- ``"double"``: over several lines too; ``\\n \\t \\" \\\\ \\$`` and octal ``\\0ddd`` are read,
  then expanded.
- A statement may follow a closing quote on the same line (``A="1" B=2``).
- ``KEY`` alone on a line inherits from the environment and sets nothing when it isn't there.
- ``$A ${A} ${A:-b} ${A-b} ${A:+b} ${A+b} ${A:?e} ${A?e} $$``, nested. A name is looked up in the
  environment first, then among the keys above; an unknown one is the empty text.
- One byte order mark at the start and CRLF line ends are taken away.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Lookup = Callable[[str], str | None]

# Go's unicode.IsSpace; Python's str.isspace() has four more (U+001C to U+001F).
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_SPACES_IN_LINE = "\t\v\f\r \x85\xa0"
_EXPORT = re.compile(r"export[\t\n\f\r ]")
_NAME_MARKS = "_.-[]"
_ESCAPE = re.compile(r"\\(?:[abcfnrtv$\"\\]|0[0-9]{0,3})")
_PLAIN_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    '"': '"', "\\": "\\",
    "$": "$$",  # the expansion that follows makes a plain dollar of it
}  # fmt: skip
_OCTAL = re.compile(r"0([0-3][0-7]{2})")

# compose-go's template.DefaultPattern. Its case folding also takes the long s and the Kelvin sign.
_START = "[_a-zA-Z\u017f\u212a]"
_NAME = f"{_START}[_a-zA-Z0-9\u017f\u212a]*"
_EXPANSION = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})|\{{(?:(?P<braced>{_NAME}(?::?[-+?].*)?)\}}|))"
)
_OPERATOR = re.compile(r":?[-+?]")

# How much of a faulty line an error shows: a name, not a value that may be secret.
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """A value and the line (from 1) that set it."""

    value: str
    line: int


class _ExpansionError(Exception):
    """What is wrong with a ``$`` form; the parser adds the line."""


def parse(
    text: str,
    environ: Mapping[str, str],
    *,
    name: str = ".env",
) -> dict[str, Entry]:
    """All entries of ``text``, in the order of their first appearance; the last value counts.

    ``environ`` is asked first for ``$NAME``, as Compose does. The environment's own values for
    the same keys are the caller's to prefer. Raises :class:`SettingsError` that names the line.
    """
    return _Parser(text.removeprefix("\ufeff"), environ, name).run()


class _Parser:
    """One pass over ``text``; ``at`` is the position of the next character."""

    def __init__(self, text: str, environ: Mapping[str, str], name: str) -> None:
        self.text = text
        self.environ = environ
        self.name = name
        self.at = 0
        self.entries: dict[str, Entry] = {}

    def run(self) -> dict[str, Entry]:
        while self._to_statement():
            start = self.at
            key, inherited = self._key()
            line = self._line(start)
            value = self.environ.get(key) if inherited else self._value(key, line)
            if not key and value is not None:
                self._fail(start, tr("a value without a name"))
            if value is not None:
                self.entries[key] = Entry(value, line)
        return self.entries

    def _to_statement(self) -> bool:
        """Skip blank space and comments; false at the end of the text."""
        while True:
            self.at = _skip(self.text, self.at, _SPACES)
            if self.at == len(self.text):
                return False
            if self.text[self.at] != "#":
                return True
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def _key(self) -> tuple[str, bool]:
        """The name that starts here, and whether it stands alone (a line without ``=``)."""
        if _EXPORT.match(self.text, self.at):
            self.at = _skip(self.text, self.at + len("export"), _SPACES_IN_LINE)
        start = self.at
        for position in range(start, len(self.text)):
            char = self.text[position]
            if char in "=:\n":
                key = self.text[start:position].rstrip(_SPACES)
                if " " in key:
                    self._fail(
                        start, tr("a name cannot contain a space: {key!r}", key=key[:_SHOWN])
                    )
                self.at = _skip(self.text, position + 1, _SPACES_IN_LINE)
                return key, char == "\n"
            if not (char in _SPACES_IN_LINE or char in _NAME_MARKS or _is_word(char)):
                before = self.text[start:position][-_SHOWN:]
                self._fail(
                    start,
                    tr(
                        "unexpected character {char!r} in a name, after {before!r}",
                        char=char,
                        before=before,
                    ),
                )
        # The last line, without a line end: Compose refuses it as a value without a name.
        return "", False

    def _value(self, key: str, line: int) -> str:
        quote = self.text[self.at : self.at + 1]
        if quote not in {'"', "'"}:
            end = self.text.find("\n", self.at)
            end = len(self.text) if end < 0 else end
            raw = self.text[self.at : end].partition(" #")[0].rstrip(_SPACES)
            self.at = min(end + 1, len(self.text))
            return self._expand(raw, key, line)
        raw = self._quoted(quote, key)
        return raw if quote == "'" else self._expand(_ESCAPE.sub(_unescape, raw), key, line)

    def _quoted(self, quote: str, key: str) -> str:
        """The text up to the closing quote; a backslash only protects the quote here."""
        start, chars, escaped = self.at, list[str](), False
        for position in range(start + 1, len(self.text)):
            char = self.text[position]
            if char == quote and not escaped:
                self.at = position + 1
                return "".join(chars)
            if char == "\\" and not escaped:
                escaped = True
                continue
            if escaped and char != quote:
                chars.append("\\")
            escaped = False
            chars.append(char)
        return self._fail(
            start, tr("the value of {key} has no closing {quote}", key=key, quote=quote)
        )

    def _expand(self, text: str, key: str, line: int) -> str:
        try:
            try:
                return _substitute(text, self._lookup)
            except RecursionError:
                raise _ExpansionError(tr("$ forms are nested too deeply")) from None
        except _ExpansionError as exc:
            raise SettingsError(
                tr("{name} line {line}: {key}: {exc}", name=self.name, line=line, key=key, exc=exc),
                hint=tr("Write $$ for a dollar sign, or put the value in single quotes."),
                key=key,
                source=tr("{file} line {line}", file=self.name, line=line),
            ) from exc

    def _lookup(self, name: str) -> str | None:
        if name in self.environ:
            return self.environ[name]
        entry = self.entries.get(name)
        return entry.value if entry else None

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def _fail(self, position: int, fault: str) -> NoReturn:
        line = self._line(position)
        raise SettingsError(
            tr("{name} line {line}: {fault}", name=self.name, line=line, fault=fault),
            hint=tr("A line is KEY=value; text with special characters goes into 'single quotes'."),
            source=tr("{file} line {line}", file=self.name, line=line),
        )


def _skip(text: str, at: int, chars: str) -> int:
    while at < len(text) and text[at] in chars:
        at += 1
    return at


def _is_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN"


def _unescape(match: re.Match[str]) -> str:
    body = match[0][1:]
    if octal := _OCTAL.fullmatch(body):
        return chr(int(octal[1], 8))
    if body[0] == "0":
        return f"\\{body[1:]}"  # not an octal of three digits: Compose loses the 0, and so do we
    return _PLAIN_ESCAPES.get(body, match[0])  # \c stays as it is


def _substitute(text: str, lookup: Lookup) -> str:
    return _EXPANSION.sub(lambda match: _replace(match, lookup), text)


def _replace(match: re.Match[str], lookup: Lookup) -> str:
    if match["escaped"]:
        return "$"
    if match["named"]:
        return lookup(match["named"]) or ""
    if not match["braced"]:
        raise _ExpansionError(
            tr("{form!r} is not a valid $ form", form=match.string[match.start() :][:_SHOWN])
        )
    # The pattern runs to the line's last brace; the form itself ends at its own closing brace.
    form, rest = match[0], ""
    closing = _closing_brace(form)
    if closing is not None:
        form, rest = form[: closing + 1], form[closing + 1 :]
    body = form[2:-1]
    operator = _OPERATOR.search(body)
    if operator is None:
        return lookup(body) or ""
    name, word = body[: operator.start()], body[operator.end() :]
    return _apply(name, operator[0], word, lookup) + _substitute(rest, lookup)


def _apply(name: str, operator: str, word: str, lookup: Lookup) -> str:
    value = lookup(name)
    there = bool(value) if operator[0] == ":" else value is not None
    if operator[-1] == "+":
        return _substitute(word, lookup) if there else value or ""
    if there:
        return value or ""
    if operator[-1] == "-":
        return _substitute(word, lookup)
    reason = _substitute(word, lookup)
    raise _ExpansionError(
        tr(
            "{name} must be set{reason}",
            name=name,
            reason=tr(": {reason}", reason=reason) if reason else "",
        )
    )


def _closing_brace(text: str) -> int | None:
    """Where the first balanced ``{...}`` ends. As Compose, blind to the character after ``{``."""
    depth, at = 0, 0
    while at < len(text):
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        if text[at] == "{":
            depth += 1
            at += 1
        at += 1
    return None
