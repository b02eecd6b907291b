"""Which of the files takes a role that nobody named, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_ai_suite.gguf import GgufFile

Kind = Literal["chat", "code", "embed", "rerank"]

_CODE_WORDS = ("coder", "codestral", "starcoder", "codegemma", "codellama", "granite-code", "code-")


def kind_of(file: GgufFile) -> Kind:
    """What a file is for, by its header, then by its name."""
    if file.pooling_type == "rank":
        return "rerank"
    if file.is_embedding:
        return "embed"
    return "code" if is_coder(file) else "chat"


def is_coder(file: GgufFile) -> bool:
    words = f"{file.path.stem} {file.name}".lower()
    return any(word in words for word in _CODE_WORDS)


def choose_chat(files: Iterable[GgufFile], _: GgufFile | None) -> tuple[GgufFile | None, str]:
    """A model with a chat template that is not made for code alone; the largest of those."""
    talkers = [file for file in files if not file.is_embedding]
    ranked = sorted(
        talkers,
        key=lambda file: (file.chat_template is not None, not is_coder(file), file.size_bytes),
    )
    if not ranked:
        return None, ""
    best = ranked[-1]
    if best.chat_template is None:
        return best, tr("only base models are there, and it is the largest")
    if len(ranked) == 1:
        return best, tr("it is the only one that can chat")
    general = "" if is_coder(best) else tr(", is not made for code alone")
    return best, tr("it has a chat template{general} and is the largest such file", general=general)


def choose_code(files: Iterable[GgufFile], chat: GgufFile | None) -> tuple[GgufFile | None, str]:
    """A code model by its name, else one with fill-in-the-middle tokens, else the chat model."""
    talkers = [file for file in files if not file.is_embedding]
    if coders := [file for file in talkers if is_coder(file)]:
        return max(coders, key=lambda file: file.size_bytes), tr(
            "its name says that it is for code"
        )
    if chat is not None and chat.has_fim:
        return chat, tr("the chat model can fill in the middle, and no code model is there")
    if fillers := [file for file in talkers if file.has_fim]:
        return max(fillers, key=lambda file: file.size_bytes), tr("it can fill in the middle")
    return chat, tr("no code model is there: the chat model answers")


def choose_embed(files: Iterable[GgufFile], _: GgufFile | None) -> tuple[GgufFile | None, str]:
    """The smallest embedding model; no other kind of model takes this role."""
    found = [file for file in files if file.is_embedding and file.pooling_type != "rank"]
    if not found:
        return None, ""
    return min(found, key=lambda file: file.size_bytes), tr("it is an embedding model")
