"""What ``lais models inspect`` says about a file."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file import GgufFile

_BLOCK = re.compile(r"(?:blk|v\.blk|dec\.blk|enc\.blk)\.(\d+)\.")
_PARTS = (
    ("embedding", re.compile(r"^(?:token_embd|token_types|position_embd|per_layer_token_embd)")),
    ("output", re.compile(r"^(?:output|cls)")),
    ("experts", re.compile(r"\.ffn_(?:up|down|gate|gate_up)_(?:ch)?exps")),
    ("feed-forward", re.compile(r"\.ffn_")),
    ("attention", re.compile(r"\.(?:attn|post_attention)")),
    ("recurrent", re.compile(r"\.(?:ssm|shortconv|time_mix)")),
)


@dataclass(frozen=True, slots=True)
class Description:
    """A model's facts. Bytes where a name ends in ``bytes``; ``None`` where the header is silent.

    ``bytes_by_part`` and ``bytes_by_format`` are of tensors; ``bytes_per_layer`` in their order.
    """

    path: str
    files: int
    size_bytes: int
    gguf_version: int
    name: str
    type: str
    architecture: str
    parameters: int
    quantization: str
    bits_per_weight: float | None
    layers: int | None
    embedding_length: int | None
    heads: int | None
    heads_kv: int | None
    experts: int
    experts_used: int
    sliding_window: int | None
    trained_context: int | None
    vocabulary: int | None
    tokenizer: str | None
    has_chat_template: bool
    tools: bool | None
    thinking: bool | None
    fim: bool
    embedding: bool
    pooling: str | None
    licence: str | None
    tensors: int
    bytes_by_part: dict[str, int]
    bytes_by_format: dict[str, int]
    bytes_per_layer: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def describe(model: GgufFile) -> Description:
    """Collect what the header says about ``model``."""
    features = model.chat_features
    parts: dict[str, int] = {}
    layers = [0] * min(model.block_count or 0, 10_000)
    for tensor in model.tensors:
        part = next((name for name, found in _PARTS if found.search(tensor.name)), "other")
        parts[part] = parts.get(part, 0) + tensor.n_bytes
        match = _BLOCK.match(tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.n_bytes
    return Description(
        path=str(model.path),
        files=len(model.shards),
        size_bytes=model.size_bytes,
        gguf_version=model.version,
        name=model.name,
        type=model.type,
        architecture=model.architecture,
        parameters=model.parameters,
        quantization=model.quantization,
        bits_per_weight=model.bits_per_weight,
        layers=model.block_count,
        embedding_length=model.embedding_length,
        heads=model.head_count,
        heads_kv=model.head_count_kv,
        experts=model.expert_count,
        experts_used=model.experts_used,
        sliding_window=model.sliding_window,
        trained_context=model.context_length,
        vocabulary=model.vocabulary_size,
        tokenizer=model.tokenizer,
        has_chat_template=model.chat_template is not None,
        tools=features.tools if features else None,
        thinking=features.thinking if features else None,
        fim=model.has_fim,
        embedding=model.is_embedding,
        pooling=model.pooling_type,
        licence=model.metadata.text("general.license"),
        tensors=len(model.tensors),
        bytes_by_part=dict(sorted(parts.items(), key=lambda item: -item[1])),
        bytes_by_format=model.quantization_mix,
        bytes_per_layer=tuple(layers),
    )


def description_text(found: Description) -> str:
    """The facts as lines of ``name  value``; what is unknown is left out."""
    heads = f"{found.heads} ({found.heads_kv} for keys and values)" if found.heads else None
    experts = f"{found.experts}, {found.experts_used} per token" if found.experts else None
    bits = "" if found.bits_per_weight is None else f", {found.bits_per_weight:.2f} bits per weight"
    window = f", window of {found.sliding_window}" if found.sliding_window else ""
    layers = _layers(found)
    rows: list[tuple[str, object]] = [
        ("file", found.path + (f" ({found.files} files)" if found.files > 1 else "")),
        ("size", _size(found.size_bytes)),
        ("name", found.name),
        ("type", found.type if found.type != "model" else None),
        ("architecture", found.architecture),
        ("parameters", _count(found.parameters)),
        ("quantization", found.quantization + bits),
        ("layers", layers),
        ("width", found.embedding_length),
        ("heads", heads),
        ("experts", experts),
        ("context", f"{found.trained_context} tokens{window}" if found.trained_context else None),
        ("tokenizer", f"{found.tokenizer}, {found.vocabulary} tokens" if found.tokenizer else None),
        ("abilities", _abilities(found)),
        ("pooling", found.pooling),
        ("licence", found.licence),
    ]
    lines = [f"{name:<14} {value}" for name, value in rows if value is not None]
    for title, sizes in (("by part", found.bytes_by_part), ("by format", found.bytes_by_format)):
        total = sum(sizes.values())
        lines += ["", f"size {title}"]
        lines += [
            f"  {name:<14} {_size(size):>10}  {size / total:>4.0%}"
            for name, size in sizes.items()
            if total
        ]
    return "\n".join(lines)


def _layers(found: Description) -> str | None:
    if not found.layers:
        return None
    sizes = [size for size in found.bytes_per_layer if size]
    if not sizes:
        return str(found.layers)
    low, high = _size(min(sizes)), _size(max(sizes))
    return f"{found.layers}, {low} each" if low == high else f"{found.layers}, {low} to {high} each"


def _abilities(found: Description) -> str:
    words = [
        ("chat", found.has_chat_template),
        ("tools", found.tools),
        ("thinking", found.thinking),
        ("fill-in-the-middle", found.fim),
        ("embeddings", found.embedding),
    ]
    return ", ".join(word for word, there in words if there) or "plain completion"


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _count(number: int) -> str:
    for unit, factor in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= factor:
            return f"{number / factor:.2f} {unit}"
    return str(number)
