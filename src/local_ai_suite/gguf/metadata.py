"""Key-value metadata with typed access; absent is ``None``, the wrong type is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from local_ai_suite.errors import GgufError
from local_ai_suite.messages import tr

Scalar: TypeAlias = int | float | bool | str
Value: TypeAlias = "Scalar | tuple[Scalar, ...] | Skipped"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An array too long to be kept (a vocabulary): its element type and how many there are."""

    type: str
    count: int


class Metadata(Mapping[str, Value]):
    """What a header says, by key. Integers are accepted where a float is asked, not the reverse."""

    __slots__ = ("_values", "_where")

    def __init__(self, values: dict[str, Value], where: str = "") -> None:
        self._values = values
        self._where = where

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, key: str) -> str | None:
        value = self._values.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "text", value)

    def flag(self, key: str) -> bool | None:
        value = self._values.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, "true or false", value)

    def integer(self, key: str) -> int | None:
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self._wrong(key, "a whole number", value)

    def number(self, key: str) -> float | None:
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self._wrong(key, "a number", value)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A scalar as a tuple of one, or an array of whole numbers or booleans."""
        value = self._values.get(key)
        if value is None:
            return None
        items = value if isinstance(value, tuple) else (value,)
        whole: list[int] = []
        for item in items:
            if not isinstance(item, int):
                raise self._wrong(key, "whole numbers", value)
            whole.append(int(item))
        return tuple(whole)

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self._values.get(key)
        if value is None:
            return None
        items = value if isinstance(value, tuple) else (value,)
        found = tuple(item for item in items if isinstance(item, str))
        if len(found) != len(items):
            raise self._wrong(key, "texts", value)
        return found

    def count(self, key: str) -> int | None:
        """How long the array at ``key`` is, kept or skipped."""
        value = self._values.get(key)
        if isinstance(value, Skipped):
            return value.count
        return len(value) if isinstance(value, tuple) else None

    def _wrong(self, key: str, expected: str, value: Value) -> GgufError:
        return GgufError(
            tr(
                "{where}: the metadata key {key} holds {value!r:.80}, not {expected}",
                where=self._where,
                key=key,
                value=value,
                expected=expected,
            ),
            hint=tr("The file is damaged or was made by a broken converter; download it again."),
            key=key,
        )
