"""Which model file is behind which name, and why.

The settings name files (``CHAT_MODEL``, ``CODE_MODEL``, ``EMBED_MODEL``), ``models.toml`` names
more, and every other GGUF in ``MODELS_DIR`` is there under its file's name. What nobody named is
chosen among the files, with the reason. Only where nothing was named and no GGUF lies there does
the demo model answer: a disk that is not plugged in must never be replaced by a toy.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite import demo
from local_ai_suite.errors import GgufError, ModelError, SettingsError
from local_ai_suite.gguf import GgufFile, read_gguf, split_name
from local_ai_suite.hardware import total_memory
from local_ai_suite.messages import joined, tr

from .choice import Kind, choose_chat, choose_code, choose_embed, kind_of
from .models_toml import NO_OVERRIDES, Override, read_models_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

CHAT, CODE, EMBED = "local-chat", "local-code", "local-embed"
DEMO_NAME = "demo"

_KEYS: dict[str, tuple[str, Kind]] = {
    CHAT: ("CHAT_MODEL", "chat"),
    CODE: ("CODE_MODEL", "code"),
    EMBED: ("EMBED_MODEL", "embed"),
}
# Files that a person who drops a folder of models in does not expect to be opened.
_DEEPEST = 3
# A file that takes more of the memory than this is only served where somebody names it.
_MEMORY_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be served: one file with one set of overrides, under one or more names.

    ``names[0]`` is the name that it is shown by. ``reason`` says in words why it has its names.
    """

    names: tuple[str, ...]
    file: GgufFile
    kind: Kind
    reason: str
    overrides: Override = NO_OVERRIDES
    mmproj: Path | None = None
    is_demo: bool = False

    @property
    def name(self) -> str:
        """The name that it is shown by, of all that it answers to."""
        return self.names[0]

    @property
    def path(self) -> Path:
        """Its file; the first one of a model in several."""
        return self.file.path

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it another process: names and reasons may change while it runs."""
        return (self.path, self.overrides, self.embeds, self.mmproj)

    @property
    def embeds(self) -> bool:
        """It makes vectors or ranks, and writes no text."""
        return self.kind in {"embed", "rerank"}

    @property
    def is_base(self) -> bool:
        """It has no chat template: it was trained to go on with a text, not to answer."""
        return not self.embeds and self.file.chat_template is None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before they rely on it, one sentence each."""
        if not self.is_base:
            return ()
        text = tr(
            "{file} has no chat template, so it is a base model: it goes on with a text and "
            "answers no questions. For chatting, take its -Instruct or -it variant.",
            file=self.path.name,
        )
        return (text,)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What clients may ask of it: chat, tools, thinking, completion, fim, embeddings..."""
        if self.kind == "rerank":
            return ("rerank",)
        if self.kind == "embed":
            return ("embeddings",)
        features = self.file.chat_features
        found = ["completion"] if self.is_base else ["chat", "completion"]
        if features is not None and features.tools:
            found.append("tools")
        if features is not None and features.thinking:
            found.append("thinking")
        if self.file.has_fim:
            found.append("fim")
        if self.mmproj is not None:
            found.append("vision")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models, those with a role first.

    ``problems`` says which files are passed over, and why; ``left_out`` the same by the name that
    each would have, without the folder.
    """

    entries: tuple[ModelEntry, ...]
    problems: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    by_name: dict[str, ModelEntry] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for entry in self.entries:
            for name in entry.names:
                self.by_name.setdefault(name, entry)

    def get(self, name: str) -> ModelEntry | None:
        """The model that answers to ``name``; ``None`` if none does."""
        return self.by_name.get(name)

    @property
    def default(self) -> ModelEntry:
        """What answers a request that names no model (llama-server's own routes)."""
        return self.by_name.get(CHAT) or self.entries[0]


def configured_models(settings: Settings, paths: Paths, *, memory: int | None = None) -> Catalog:
    """Read the settings, ``models.toml`` and the models folder. ``memory``: bytes that this machine
    has, measured if ``None``; a larger file is not chosen by itself where a smaller one is there.

    Raises SettingsError or ModelError for a model or folder that was named and isn't there.
    """
    folder = settings.models_path(paths)
    named_folder = settings.models_dir != "models"
    more = read_models_toml(paths.models_toml)
    named = {role: getattr(settings, key.lower()) for role, (key, _) in _KEYS.items()}
    _check_folder(settings, folder, named_folder)
    files, broken = _read_folder(folder)
    problems = tuple(broken.values())
    left_out = {
        _file_name(path, folder): why.replace(str(path), path.name) for path, why in broken.items()
    }
    if not files and not any(named.values()) and not any(item.file for item in more.values()):
        if named_folder or problems:
            raise _nothing_there(settings, folder, problems)
        return Catalog((_demo(paths),), problems, left_out)
    chosen = _Chosen(settings, folder, files, more, memory or total_memory())
    for role, text in named.items():
        if text:
            chosen.name(role, text)
    chosen.name_more()
    chosen.choose_the_rest()
    entries = chosen.entries()
    # An embedding model alone does not take the demo's place.
    nobody_chats = not any({CHAT, CODE} & set(entry.names) for entry in entries)
    if nobody_chats and not named_folder and not problems:
        entries = (_demo(paths), *entries)
    return Catalog(entries, problems, left_out)


def find_ggufs(folder: Path) -> list[Path]:
    """GGUF files under ``folder`` (three levels deep), first shards only, in a stable order."""
    found: list[Path] = []
    for depth in range(_DEEPEST):
        found += folder.glob("/".join(["*"] * (depth + 1)))
    ggufs = [
        path
        for path in found
        if path.suffix.lower() == ".gguf" and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(path for path in ggufs if (part := split_name(path)) is None or part.number == 1)


def _check_folder(settings: Settings, folder: Path, named: bool) -> None:
    if named and not folder.is_dir():
        raise SettingsError(
            tr(
                "MODELS_DIR is {models_dir!r} (set in: {source}), and {folder} is not there",
                models_dir=settings.models_dir,
                source=_source(settings, "MODELS_DIR"),
                folder=folder,
            ),
            hint=tr("Plug in or mount its disk, or change MODELS_DIR in .env."),
            key="MODELS_DIR",
        )


def _read_folder(folder: Path) -> tuple[dict[Path, GgufFile], dict[Path, str]]:
    """The files that can be served, and those that cannot, with the reason."""
    files: dict[Path, GgufFile] = {}
    problems: dict[Path, str] = {}
    for path in find_ggufs(folder) if folder.is_dir() else ():
        try:
            file = read_gguf(path)
            if file.type in {"model", "mmproj"}:
                files[path] = file
        except GgufError as exc:
            problems[path] = exc.message
    return files, problems


def _nothing_there(settings: Settings, folder: Path, problems: Sequence[str]) -> ModelError:
    where = tr("MODELS_DIR (set in: {source})", source=_source(settings, "MODELS_DIR"))
    what = (
        joined("; ", problems)
        if problems
        else tr("{folder}, named by {where}, holds no GGUF file", folder=folder, where=where)
    )
    return ModelError(
        tr("no model can be served: {what}", what=what),
        hint=tr(
            "Put a GGUF file there (`lais models pull NAME` downloads one), or remove "
            "what is broken."
        ),
        folder=str(folder),
    )


def _demo(paths: Paths) -> ModelEntry:
    path = demo.demo_model_path()
    if path is None:
        path = paths.cache / "demo" / "scripted.gguf"
        if not path.is_file():
            demo.write_scripted_gguf(path)
    return ModelEntry(
        names=(CHAT, CODE, DEMO_NAME),
        file=read_gguf(path),
        kind="chat",
        reason=tr(
            "no model was named and the models folder holds none that chats: the demo model answers"
        ),
        is_demo=True,
    )


def _source(settings: Settings, key: str) -> str:
    return settings.sources.get(key, tr("default"))


@dataclass
class _Pick:
    """A file on its way to becoming an entry."""

    file: GgufFile
    kind: Kind
    overrides: Override
    names: list[str]
    reasons: list[str]


class _Chosen:
    """Collects which file gets which names."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        files: dict[Path, GgufFile],
        more: dict[str, Override],
        memory: int | None,
    ) -> None:
        self._memory = memory
        self._settings = settings
        self._folder = folder
        self._files = dict(files)
        self._more = more
        self._picks: list[_Pick] = []

    def name(self, role: str, text: str) -> None:
        """Give ``role`` the file that a setting names."""
        key, kind = _KEYS[role]
        where = tr("{key} (set in: {source})", key=key, source=_source(self._settings, key))
        override = self._more.get(role, NO_OVERRIDES)
        if override.file and override.file != text:
            raise SettingsError(
                tr(
                    "{where} is {text!r}, but models.toml says file = {file!r} for {role}",
                    where=where,
                    text=text,
                    file=override.file,
                    role=role,
                ),
                hint=tr(
                    "Name the file in one place: remove {key}, or that line of models.toml.",
                    key=key,
                ),
                key=key,
            )
        self._add(role, self._find(text, where), kind, override, tr("{key} names it", key=key))

    def name_more(self) -> None:
        """The models of ``models.toml``."""
        for name, override in self._more.items():
            if not override.file:
                continue
            if name in _KEYS and getattr(self._settings, _KEYS[name][0].lower()):
                continue
            file = self._find(override.file, f"models.toml, [models.{name}]")
            kind = override.kind or (_KEYS[name][1] if name in _KEYS else kind_of(file))
            self._add(name, file, kind, override, tr("models.toml names it"))

    def choose_the_rest(self) -> None:
        """Roles that nobody named, then every other file under its own name."""
        taken = {name for pick in self._picks for name in pick.names}
        for role, choose in ((CHAT, choose_chat), (CODE, choose_code), (EMBED, choose_embed)):
            if role in taken:
                continue
            candidates = self._candidates(role)
            chat = next((pick.file for pick in self._picks if CHAT in pick.names), None)
            held = [file for file in candidates if self._holds(file)]
            file, why = choose(held, chat)
            if file is None:
                file, why = choose(candidates, chat)
            elif file is not chat and choose(candidates, chat)[0] is not file:
                why += tr(
                    " that {memory:.0f} GiB of memory hold", memory=(self._memory or 0) / 2**30
                )
            if file is not None:
                override = self._more.get(role, NO_OVERRIDES)
                self._add(role, file, override.kind or _KEYS[role][1], override, why)
        served = {pick.file.path for pick in self._picks}
        for path, file in self._files.items():
            if path not in served and not file.is_projector:
                self._add(
                    None, file, kind_of(file), NO_OVERRIDES, tr("it lies in the models folder")
                )

    def entries(self) -> tuple[ModelEntry, ...]:
        """One entry per file and set of overrides; file names are added where they are free."""
        for name in self._more:
            if not any(name in pick.names for pick in self._picks):
                raise SettingsError(
                    tr(
                        "models.toml, [models.{name}] names no file, and no file was chosen for it",
                        name=name,
                    ),
                    hint=tr('Add file = "NAME.gguf" to it.'),
                    key=name,
                )
        taken = {name for pick in self._picks for name in pick.names}
        entries = []
        for pick in self._picks:
            own = _file_name(pick.file.path, self._folder)
            names = [*pick.names, *([own] if own not in taken else [])]
            taken.add(own)
            if names:
                entries.append(self._entry(pick, names))
        return tuple(entries)

    def _entry(self, pick: _Pick, names: Sequence[str]) -> ModelEntry:
        entry = ModelEntry(
            names=tuple(names),
            file=pick.file,
            kind=pick.kind,
            reason=joined("; ", dict.fromkeys(pick.reasons)),
            overrides=pick.overrides,
            mmproj=self._projector(pick),
        )
        # An embedding model asked for as chat model is a mistake that shows at once, not as 501.
        if not entry.embeds and pick.file.is_embedding and set(names) & set(_KEYS):
            raise ModelError(
                tr(
                    "{name} is an embedding model, and it is named for {role}",
                    name=pick.file.path.name,
                    role=names[0],
                ),
                hint=tr("Name it as EMBED_MODEL, and another one for {role}.", role=names[0]),
                path=str(pick.file.path),
            )
        return entry

    def _add(
        self, name: str | None, file: GgufFile, kind: Kind, override: Override, why: str
    ) -> None:
        told = tr("{name}: {why}", name=name, why=why) if name else why
        settled = replace(override, file=None, kind=None, aliases=())
        names = [*([name] if name else []), *override.aliases]
        embeds = kind in {"embed", "rerank"}
        for pick in self._picks:
            same_use = embeds == (pick.kind in {"embed", "rerank"})
            if pick.file.path == file.path and pick.overrides == settled and same_use:
                pick.names += names
                pick.reasons.append(told)
                return
        self._picks.append(_Pick(file, kind, settled, names, [told]))

    def _holds(self, file: GgufFile) -> bool:
        """Whether this machine has the memory for it; the rest of it belongs to others."""
        return self._memory is None or file.size_bytes <= self._memory * _MEMORY_SHARE

    def _candidates(self, role: str) -> list[GgufFile]:
        """The files that may take ``role``: base models only where nothing is there that chats."""
        files = [file for file in self._all() if not file.is_projector]
        if role == EMBED:
            return files
        return [f for f in files if f.chat_template is not None and not f.is_embedding] or files

    def _all(self) -> list[GgufFile]:
        named = [pick.file for pick in self._picks]
        return [*self._files.values(), *(f for f in named if f.path not in self._files)]

    def _find(self, text: str, where: str) -> GgufFile:
        wanted = Path(text).expanduser()
        for path in (self._folder / wanted, self._folder / f"{wanted}.gguf"):
            if path.is_file():
                known = self._files.get(path)
                return known if known is not None else read_gguf(path)
        near = difflib.get_close_matches(wanted.name, [p.name for p in self._files], n=1)
        hint = (
            tr("Did you mean {near}?", near=near[0])
            if near
            else tr("`lais models` lists what is there.")
        )
        raise ModelError(
            tr(
                "{where} names {text!r}, and {folder} is not there",
                where=where,
                text=text,
                folder=self._folder / wanted,
            ),
            hint=tr("{hint} If its disk is unplugged, plug it in.", hint=hint),
            path=str(self._folder / wanted),
        )

    def _projector(self, pick: _Pick) -> Path | None:
        if pick.overrides.mmproj:
            path = self._folder / Path(pick.overrides.mmproj).expanduser()
            if not path.is_file():
                raise ModelError(
                    tr(
                        "models.toml: mmproj = {mmproj!r}, and {path} is not there",
                        mmproj=pick.overrides.mmproj,
                        path=path,
                    ),
                    hint=tr("Give the projector's file name, or remove the line."),
                )
            return path
        # Beside the model, in a folder of their own: that is how multimodal models are published.
        home = pick.file.path.parent
        if home == self._folder:
            return None
        here = [file for path, file in self._files.items() if path.parent == home]
        projectors = [file.path for file in here if file.is_projector]
        return projectors[0] if len(projectors) == 1 and len(here) == 2 else None


def _file_name(path: Path, folder: Path) -> str:
    """``sub/Name.gguf`` under the folder is ``sub/Name``; shards lose their number."""
    part = split_name(path)
    stem = part.prefix if part is not None else path.stem
    try:
        return (path.parent.relative_to(folder) / stem).as_posix()
    except ValueError:
        return stem
