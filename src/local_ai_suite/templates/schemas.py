"""JSON Schemas as tools and answers really have them, made into what the engine can read.

llama.cpp makes a grammar of a schema (``common/json-schema.cpp``) and refuses the whole request
over one node that it cannot read. What means the same is written as it reads it (``true`` is
``{}``, ``STRING`` is ``string``); what it cannot enforce is left out, and told by its path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_ANY = frozenset({"any", "", "unknown", "mixed"})
_LISTS = ("oneOf", "anyOf", "allOf")
_NAMED = ("$defs", "definitions")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# A grammar repeats a rule 2,000 times at most (src/llama-grammar.cpp, MAX_REPETITION_THRESHOLD);
# an array's rule holds the item and the comma.
_MOST = {"minLength": 2000, "maxLength": 2000, "minItems": 500, "maxItems": 500}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The schema to send, and the paths (with the keyword) of what will not be enforced."""

    schema: dict[str, Any]
    not_enforced: tuple[str, ...]


def accepted(schema: Any) -> Accepted:
    """``schema`` as the engine reads it; what is right already stays as it is.

    The input is not changed. Raises RecursionError for one that is nested without end.
    """
    walk = _Walk(schema)
    made = walk.node(schema, "#")
    return Accepted(made, tuple(walk.not_enforced))


def typed(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` for a template that reads a type at every parameter, and items at every array.

    What is added is shown to the model and changes nothing of what the grammar lets through: where
    a schema has alternatives, values or a reference, the engine does not look at its type.
    """
    made = dict(schema)
    if "type" not in made:
        if not any(key in made for key in (*_DECIDES, "properties", "items", "prefixItems")):
            made["anyOf"] = [{"type": kind} for kind in sorted(_TYPES)]
        made["type"] = _type_of(made)
    if made["type"] == "array" and not isinstance(made.get("items"), dict):
        made.setdefault("items", {})
    for key in ("properties", *_NAMED):
        if isinstance(made.get(key), dict):
            made[key] = {
                name: typed(inner) if isinstance(inner, dict) else inner
                for name, inner in made[key].items()
            }
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = typed(made[key])
    return made


# What the engine looks at before a type (common/json-schema.cpp, build_node).
_DECIDES = ("$ref", "oneOf", "anyOf", "allOf", "const", "enum")


def _type_of(schema: dict[str, Any]) -> str:
    """The type to show for a schema that says none."""
    if "properties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    for key in ("anyOf", "oneOf"):
        for one in schema.get(key) or ():
            kind = one.get("type") if isinstance(one, dict) else None
            if isinstance(kind, str) and kind != "null" and len(schema[key]) < len(_TYPES):
                return kind
    return "object" if "$ref" in schema else "string"


@dataclass
class _Walk:
    root: Any
    not_enforced: list[str] = field(default_factory=list)

    def node(self, node: Any, path: str) -> dict[str, Any]:
        if node is True:
            return {}
        if not isinstance(node, dict):
            self._tell(path, "false" if node is False else "not a schema")
            return {}
        made = dict(node)
        self._reference(made, path)
        self._type(made, path)
        self._values(made, path)
        self._bounds(made, path)
        for key in _LISTS:
            self._list(made, key, path)
        for key in _NAMED:
            if isinstance(made.get(key), dict):
                made[key] = {
                    name: self.node(inner, f"{path}/{key}/{name}")
                    for name, inner in made[key].items()
                }
        self._properties(made, path)
        self._items(made, path)
        return made

    def _tell(self, path: str, what: str) -> None:
        self.not_enforced.append(f"{path} {what}")

    def _drop(self, made: dict[str, Any], key: str, path: str) -> None:
        del made[key]
        self._tell(path, key)

    def _reference(self, made: dict[str, Any], path: str) -> None:
        if "$ref" in made and not self._resolves(made["$ref"]):
            self._drop(made, "$ref", path)

    def _resolves(self, reference: Any) -> bool:
        """As the engine looks for it: by plain names from the root of the same document."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return False
        target = self.root
        for name in reference[1:].split("/")[1:]:
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            else:
                return False
        return isinstance(target, dict | bool)

    def _type(self, made: dict[str, Any], path: str) -> None:
        kind = made.get("type")
        if kind is None:
            made.pop("type", None)
            return
        kinds = kind if isinstance(kind, list) else [kind]
        known = [
            one.lower() for one in kinds if isinstance(one, str) and one.lower() in _TYPES | _ANY
        ]
        if len(known) < len(kinds):
            self._tell(path, "type")
        if not known or any(one in _ANY for one in known):
            del made["type"]
        else:
            made["type"] = known if isinstance(kind, list) else known[0]

    def _values(self, made: dict[str, Any], path: str) -> None:
        if "enum" in made and (not isinstance(made["enum"], list) or not made["enum"]):
            self._drop(made, "enum", path)
        for key in ("format", "pattern"):
            if key in made and not isinstance(made[key], str):
                self._drop(made, key, path)

    def _bounds(self, made: dict[str, Any], path: str) -> None:
        for key, most in _MOST.items():
            if key not in made:
                continue
            value = made[key]
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                self._drop(made, key, path)
            elif value > most:
                self._tell(path, key)
                if key.startswith("min"):
                    made[key] = most
                else:
                    del made[key]
        for low, high in (("minLength", "maxLength"), ("minItems", "maxItems")):
            if low in made and high in made and made[low] > made[high]:
                self._drop(made, low, path)
        for key in _NUMBERS:
            if key in made and (
                not isinstance(made[key], int | float) or isinstance(made[key], bool)
            ):
                self._drop(made, key, path)

    def _list(self, made: dict[str, Any], key: str, path: str) -> None:
        if key not in made:
            return
        if not isinstance(made[key], list) or not made[key]:
            self._drop(made, key, path)
            return
        made[key] = [
            self.node(inner, f"{path}/{key}/{number}") for number, inner in enumerate(made[key])
        ]

    def _properties(self, made: dict[str, Any], path: str) -> None:
        if "properties" in made:
            if isinstance(made["properties"], dict):
                # One that is false must not be there; with a list of properties the engine's
                # grammar writes no others.
                made["properties"] = {
                    name: self.node(inner, f"{path}/properties/{name}")
                    for name, inner in made["properties"].items()
                    if inner is not False
                }
            else:
                self._drop(made, "properties", path)
        more = made.get("additionalProperties")
        if isinstance(more, dict):
            made["additionalProperties"] = self.node(more, f"{path}/additionalProperties")
        elif more is not None and not isinstance(more, bool):
            self._drop(made, "additionalProperties", path)
        elif "additionalProperties" in made and more is None:
            del made["additionalProperties"]

    def _items(self, made: dict[str, Any], path: str) -> None:
        if "prefixItems" in made and made.get("items") in (True, False):
            del made["items"]  # the engine would take it for all items
        for key in ("items", "prefixItems"):
            if key not in made:
                continue
            inner = made[key]
            if isinstance(inner, list):
                made[key] = [
                    self.node(one, f"{path}/{key}/{number}") for number, one in enumerate(inner)
                ]
            elif inner is None:
                del made[key]
            else:
                made[key] = self.node(inner, f"{path}/{key}")
