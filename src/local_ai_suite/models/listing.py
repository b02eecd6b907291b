"""`lais models list`: the files that are there, what each is, and what it serves as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_ai_suite.catalog.catalog import ModelEntry, configured_models
from local_ai_suite.messages import joined, say, tr, translated
from local_ai_suite.messages.width import ljust, width

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

    from .recommended import Recommended

_ROLES = ("local-chat", "local-code", "local-embed")
_NAMING = {"chat": "CHAT_MODEL", "code": "CODE_MODEL", "embed": "EMBED_MODEL"}
_HEAD = (
    tr("name"), tr("architecture"), tr("parameters"), tr("quantization"), tr("context"), tr("size"),
    tr("kind"), tr("file"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listing:
    """The catalogue of this project, and downloads that wait to go on (file, bytes so far)."""

    entries: tuple[ModelEntry, ...]
    problems: tuple[str, ...]
    unfinished: tuple[tuple[str, int], ...]


def list_models(settings: Settings, paths: Paths) -> Listing:
    """Raises SettingsError or ModelError for a model or folder that was named and isn't there."""
    catalog = configured_models(settings, paths)
    return Listing(catalog.entries, catalog.problems, _unfinished(settings.models_path(paths)))


def as_text(found: Listing) -> str:
    """A table, then why each role is served by what it is."""
    rows = [tuple(map(translated, _HEAD)), *(_row(entry) for entry in found.entries)]
    widths = [max(width(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(ljust(cell, most) for cell, most in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [
        "",
        *(f"{entry.name}: {translated(entry.reason)}." for entry in found.entries if _role(entry)),
    ]
    lines += [
        say(
            "Unfinished: {name} ({size} so far); pulling it again goes on.",
            name=name,
            size=size_text(size),
        )
        for name, size in found.unfinished
    ]
    if any(entry.is_demo for entry in found.entries):
        lines += [
            "",
            say("For a real one: lais models pull chat (3 GB), or put a GGUF into models/."),
        ]
    return "\n".join(lines)


def as_data(found: Listing) -> dict[str, Any]:
    """The same for programs. Unknown values are null."""
    return {
        "models": [
            {
                "names": list(entry.names),
                "kind": entry.kind,
                "reason": entry.reason,
                "is_demo": entry.is_demo,
                "is_base": entry.is_base,
                "capabilities": list(entry.capabilities),
                "file": str(entry.path),
                "files": [str(path) for path in entry.file.shards],
                "architecture": entry.file.architecture,
                "title": entry.file.name,
                "parameters": entry.file.parameters,
                "quantization": entry.file.quantization,
                "context_length": entry.file.context_length,
                "size_bytes": entry.file.size_bytes,
            }
            for entry in found.entries
        ],
        "problems": list(found.problems),
        "unfinished": [{"file": name, "bytes": size} for name, size in found.unfinished],
    }


def recommended_as_data(entry: Recommended) -> dict[str, Any]:
    """One entry of the short catalogue."""
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "model": f"{entry.repo}:{entry.file}" if entry.repo else None,
        "file": entry.file,
        "gigabytes": entry.gigabytes,
        "fits_6gb": entry.fits_6gb,
        "licence": entry.licence,
        "default_for": entry.default_for,
    }


def roles_of(
    path: Path, settings: Settings, paths: Paths, *, wanted: str | None = None
) -> list[str]:
    """What a file that just came is going to serve as, in words.

    ``wanted`` is the kind for which it was recommended; that role is offered where it is another's.
    """
    for entry in configured_models(settings, paths).entries:
        if entry.path == path:
            roles = [name for name in entry.names if name in _ROLES]
            if roles:
                return [
                    tr(
                        "It serves as {roles} from the next start: make restart",
                        roles=joined(tr(" and "), roles),
                    )
                ]
            return [
                tr(
                    "It is served as {name}.{way}",
                    name=entry.name,
                    way=_way_to(wanted or entry.kind, path.name),
                )
            ]
    return []


def _way_to(kind: str, file: str) -> str:
    """How a file gets the role of its kind; a reranker has none."""
    if kind not in _NAMING:
        return ""
    return tr(
        " To make it local-{kind}: {setting}={file} in .env",
        kind=kind,
        setting=_NAMING[kind],
        file=file,
    )


def settings_that_name(gone: Iterable[Path], settings: Settings, paths: Paths) -> tuple[str, ...]:
    """The keys of settings whose model is among the files ``gone``."""
    folder = settings.models_path(paths).resolve()
    files = set(gone)
    return tuple(
        key
        for key in _NAMING.values()
        if (name := getattr(settings, key.lower()))
        and {folder / name, folder / f"{name}.gguf"} & files
    )


def _row(entry: ModelEntry) -> tuple[str, ...]:
    context = entry.file.context_length
    return (
        ", ".join(entry.names[:2]),
        entry.file.architecture,
        _count(entry.file.parameters),
        entry.file.quantization,
        str(context) if context else "?",
        size_text(entry.file.size_bytes),
        entry.kind,
        entry.path.name,
    )


def _role(entry: ModelEntry) -> bool:
    return bool(set(entry.names) & set(_ROLES))


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e8 else f"{parameters / 1e6:.1f}M"


def size_text(count: int) -> str:
    """Bytes for a person, in units of 1000."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _unfinished(folder: Path) -> tuple[tuple[str, int], ...]:
    if not folder.is_dir():
        return ()
    parts = sorted(path for path in folder.iterdir() if ".gguf.part-" in path.name)
    return tuple((path.name.rpartition(".part-")[0], path.stat().st_size) for path in parts)
