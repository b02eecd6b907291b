"""``models.toml``: more models than the three of ``.env``, and how each is loaded.

    [models.local-chat]          # a public name of the engine
    file = "Qwen2.5-3B-Instruct-Q4_K_M.gguf"    # in MODELS_DIR, or a whole path
    keep_alive = "never"         # seconds, "10m", or "never": how long it stays when idle
    pinned = true                # never stopped to make room
    ctx_size = 8192              # and n_gpu_layers, parallel, cache_type_k, cache_type_v,
                                 # mmproj, kind (chat, code, embed, rerank), aliases

A value here beats the setting of the same name.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr
from local_ai_suite.settings.spec import CACHE_TYPES, CONTEXT, COUNT, LAYERS, SECONDS, Reader

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = ("chat", "code", "embed", "rerank")
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Override:
    """What a model's own section says; ``None``: it doesn't. ``keep_alive`` may be infinite."""

    file: str | None = None
    kind: Literal["chat", "code", "embed", "rerank"] | None = None
    aliases: tuple[str, ...] = ()
    n_gpu_layers: int | None = None
    ctx_size: int | None = None
    parallel: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    keep_alive: float | None = None
    pinned: bool = False
    mmproj: str | None = None


NO_OVERRIDES = Override()


def _cache_type(text: str) -> str:
    if text not in CACHE_TYPES:
        raise ValueError(text)
    return text


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(text)
    return text


def _keep_alive(text: str) -> float:
    return NEVER if text in {"never", "-1"} else cast("float", SECONDS.read(text))


_READERS: dict[str, Reader] = {
    "file": Reader(str, tr("a file name")),
    "mmproj": Reader(str, tr("a file name")),
    "kind": Reader(_kind, ", ".join(_KINDS)),
    "n_gpu_layers": LAYERS,
    "ctx_size": CONTEXT,
    "parallel": COUNT,
    "cache_type_k": Reader(_cache_type, ", ".join(CACHE_TYPES)),
    "cache_type_v": Reader(_cache_type, ", ".join(CACHE_TYPES)),
    "keep_alive": Reader(_keep_alive, tr('{allowed}, or "never"', allowed=SECONDS.allowed)),
}


def read_models_toml(path: Path) -> dict[str, Override]:
    """The models of ``path`` by name; none if there is no such file. Raises SettingsError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        # tomllib says "Cannot overwrite a value" for two models of the same name.
        raise SettingsError(
            tr("{name} cannot be read: {exc}", name=path.name, exc=exc),
            hint=tr("Correct that line; a name may have only one section."),
        ) from exc
    if unknown := set(data) - {"models"}:
        raise _wrong(path, ", ".join(sorted(unknown)), tr("only [models.NAME] sections are known"))
    models = data.get("models", {})
    if not isinstance(models, dict):
        raise _wrong(path, "models", tr("it must be [models.NAME] sections"))
    found = {name: _section(path, name, section) for name, section in models.items()}
    names = [name for key, item in found.items() for name in (key, *item.aliases)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _wrong(path, ", ".join(twice), tr("two models have the same name"))
    return found


def _section(path: Path, name: str, section: Any) -> Override:
    if not isinstance(section, dict):
        raise _wrong(path, name, tr("it must be a [models.NAME] section"))
    values: dict[str, Any] = {}
    for key, value in section.items():
        where = f"{name}.{key}"
        if key == "aliases":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise _wrong(path, where, tr("allowed: a list of names"))
            values[key] = tuple(value)
        elif key == "pinned":
            if not isinstance(value, bool):
                raise _wrong(path, where, tr("allowed: true or false"))
            values[key] = value
        elif key in _READERS:
            values[key] = _value(path, where, _READERS[key], value)
        else:
            known = ", ".join(sorted([*_READERS, "aliases", "pinned"]))
            raise _wrong(path, where, tr("it is not known; known: {known}", known=known))
    return Override(**values)


def _value(path: Path, where: str, reader: Reader, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(path, where, tr("allowed: {allowed}", allowed=reader.allowed))
    try:
        return reader.read(str(value))
    except (ValueError, KeyError) as exc:
        raise _wrong(
            path,
            where,
            tr("it is {value!r}; allowed: {allowed}", value=value, allowed=reader.allowed),
        ) from exc


def _wrong(path: Path, where: str, what: str) -> SettingsError:
    return SettingsError(
        tr("{name}, {where}: {what}", name=path.name, where=where, what=what),
        hint=tr("Change it in {name}.", name=path.name),
        key=where,
    )
