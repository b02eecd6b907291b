"""Texts that know their template: English as they stand, another language when it is asked for."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Protocol, cast

from .particles import is_particle, particle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Catalogue(Protocol):
    """The part of :class:`gettext.NullTranslations` that a text needs."""

    def gettext(self, message: str) -> str: ...
    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str: ...


class _Formatter(string.Formatter):
    """``str.format`` with names only, and ``{name:은/는}`` for the particle that fits ``name``."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        del args  # a template names its values: another language wants another order
        return kwargs[cast("str", key)]

    def format_field(self, value: Any, format_spec: str) -> str:
        if is_particle(format_spec):
            return particle(str(value), format_spec)
        return format(value, format_spec)


_formatter = _Formatter()


class Text(str):
    """An English sentence that remembers its ``template`` and its ``values``.

    Made by :func:`tr`. Everything that takes a ``str`` takes it; what is put together from it with
    an f-string is English for good, so sentences are put together with ``tr`` or :func:`joined`.
    """

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, values: Mapping[str, object]) -> Text:
        made = super().__new__(cls, _filled(template, values))
        made.template = template
        made.values = values
        return made

    def said(self, catalogue: Catalogue) -> str:
        """The sentence in the catalogue's language; values that are texts are translated too."""
        return _filled(_looked_up(self.template, catalogue), _said_values(self.values, catalogue))

    def __add__(self, other: str) -> Text:
        return _Joined("", (self, other))

    def __radd__(self, other: str) -> Text:
        return _Joined("", (other, self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Text:
        return self  # nothing in it changes; dataclasses.asdict copies every value

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # another process reads English


class _Counted(Text):
    """A sentence with a singular and a plural."""

    __slots__ = ("many", "number")
    many: str
    number: int

    def said(self, catalogue: Catalogue) -> str:
        one = self.values["one"]
        template = catalogue.ngettext(str(one), self.many, self.number)
        return _filled(template, _said_values(self.values, catalogue))


class _Joined(Text):
    """Texts one after another."""

    __slots__ = ("between", "parts")
    between: str
    parts: tuple[str, ...]

    def __new__(cls, between: str, parts: Iterable[str]) -> _Joined:
        kept = tuple(parts)
        made = cast("_Joined", super().__new__(cls, between.join(kept), {}))
        made.between = between
        made.parts = kept
        return made

    def said(self, catalogue: Catalogue) -> str:
        between = self.between
        if isinstance(between, Text):
            between = between.said(catalogue)
        return between.join(p.said(catalogue) if isinstance(p, Text) else p for p in self.parts)


def tr(template: str, /, **values: object) -> Text:
    """A text for a person: ``template`` in English with ``{names}`` for ``values``.

    The template is a literal, since a tool reads it from the source. Without values braces are
    plain characters.
    """
    return Text(template, values)


def counted(one: str, many: str, count: int, /, **values: object) -> Text:
    """``one`` or ``many`` by ``count``; both may name it: ``{count} failures``."""
    values = {**values, "count": count, "one": one}
    made = cast("_Counted", _Counted.__new__(_Counted, one if count == 1 else many, values))
    made.many = many
    made.number = count
    return made


def joined(between: str, parts: Iterable[str]) -> Text:
    """``between.join(parts)``, in which texts stay texts."""
    return _Joined(between, parts)


def _looked_up(template: str, catalogue: Catalogue) -> str:
    # gettext answers "" with the catalogue's header.
    return catalogue.gettext(template) if template else ""


def _said_values(values: Mapping[str, object], catalogue: Catalogue) -> dict[str, object]:
    return {name: _said(value, catalogue) for name, value in values.items()}


def _said(value: object, catalogue: Catalogue) -> object:
    if isinstance(value, BaseException) and len(value.args) == 1:
        (value,) = value.args  # an exception reads as the text that it was raised with
    return value.said(catalogue) if isinstance(value, Text) else value


def _filled(template: str, values: Mapping[str, object]) -> str:
    return _formatter.vformat(template, (), values) if values else template
