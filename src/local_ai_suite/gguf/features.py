"""What a model can do, as far as its header tells: tools, thinking, fill-in-the-middle."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metadata import Metadata

# Pairs of prefix and suffix tokens that llama.cpp recognizes by their text when a header names no
# ids (llama_vocab::impl::load, "find FIM_PRE token").
_FIM_TEXTS = (
    ("<|fim_prefix|>", "<|fim_suffix|>"),  # Qwen
    ("<fim-prefix>", "<fim-suffix>"),
    ("<fim_prefix>", "<fim_suffix>"),  # Granite, StarCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>"),  # DeepSeek
    ("<PRE>", "<SUF>"),
    ("▁<PRE>", "▁<SUF>"),  # CodeLlama
    ("<|code_prefix|>", "<|code_suffix|>"),  # GLM-4.5
    ("<|prefix|>", "<|suffix|>"),  # Falcon-H1-Tiny-Coder
    ("<|plamo:fim_prefix|>", "<|plamo:fim_suffix|>"),  # PLaMo-3
)
_FIM_KEYS = (
    ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.fim_suf_token_id"),
    ("tokenizer.ggml.prefix_token_id", "tokenizer.ggml.suffix_token_id"),
)
_TOOLS = re.compile(r"\btools?\b(?!_)|\btool_calls?\b|\bfunctions\b")
_THINKING = re.compile(
    r"</?think(?:ing)?>|enable_thinking|reasoning_content|<\|channel\|>|\[THINK\]|reasoning_effort"
    r"|<seed:think>"
)


@dataclass(frozen=True, slots=True)
class TemplateFeatures:
    """What a chat template mentions: a hint for people, the engine's own check decides."""

    tools: bool
    thinking: bool
    system: bool


def template_features(template: str | None) -> TemplateFeatures | None:
    """Features of a Jinja chat template, ``None`` without one."""
    if template is None:
        return None
    return TemplateFeatures(
        tools=bool(_TOOLS.search(template)),
        thinking=bool(_THINKING.search(template)),
        system="system" in template,
    )


def has_fim(metadata: Metadata, vocabulary: bytes) -> bool:
    """Whether the model has fill-in-the-middle tokens, by id or by text as llama.cpp finds them."""
    for prefix, suffix in _FIM_KEYS:
        if metadata.integer(prefix) is not None and metadata.integer(suffix) is not None:
            return True
    return any(_stands_in(a, vocabulary) and _stands_in(b, vocabulary) for a, b in _FIM_TEXTS)


def _stands_in(token: str, vocabulary: bytes) -> bool:
    raw = token.encode()
    return struct.pack("<Q", len(raw)) + raw in vocabulary
