"""A model's GGUF, of one file or several: what its header says, in the field's words."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.errors import GgufError
from local_ai_suite.messages import tr

from .features import TemplateFeatures, has_fim, template_features
from .ggml_types import FILE_TYPES, TYPES_BY_NAME
from .split import read_shards

if TYPE_CHECKING:
    from .header import Header, Tensor
    from .metadata import Metadata

POOLING = {-1: None, 0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}  # llama_pooling_type
_PLAIN = frozenset({"F32", "F16", "BF16"})
# Architectures that are encoders of text: they embed, they never chat.
_ENCODERS = frozenset({
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
    "jina-bert-v3", "eurobert", "gemma-embedding", "t5encoder",
})  # fmt: skip


def read_gguf(path: Path | str) -> GgufFile:
    """Read the header(s) of the model at ``path``: milliseconds, no tensor data.

    Raises :class:`GgufError` for a file that is missing, unreadable, truncated, not GGUF, or one
    whose other shards are missing.
    """
    headers = read_shards(Path(path))
    return GgufFile(headers)


@dataclass(frozen=True)
class GgufFile:
    """A model file. Properties of the architecture are ``None`` where the header is silent."""

    headers: tuple[Header, ...]

    def key(self, name: str) -> str:
        """The metadata key of the architecture's ``name``: ``llama.block_count``."""
        return f"{self.architecture}.{name}"

    @property
    def path(self) -> Path:
        """The file; the first one of a model in several."""
        return self.headers[0].path

    @property
    def shards(self) -> tuple[Path, ...]:
        """The files of the model, one or several."""
        return tuple(header.path for header in self.headers)

    @property
    def version(self) -> int:
        """Of the GGUF format: 2 or 3."""
        return self.headers[0].version

    @property
    def metadata(self) -> Metadata:
        """The header's keys; those of the first file."""
        return self.headers[0].metadata

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensor tables of all files, in their order."""
        return tuple(tensor for header in self.headers for tensor in header.tensors)

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk, of all shards."""
        return sum(header.file_bytes for header in self.headers)

    @cached_property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors together, without the headers and padding."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @cached_property
    def parameters(self) -> int:
        """Elements of all tensors, as llama.cpp counts a model's parameters."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the network (``general.architecture``), such as ``llama``. Raises
        GgufError where the header names none."""
        found = self.metadata.text("general.architecture")
        if not found:
            raise GgufError(
                tr(
                    "{path}: the header names no architecture (general.architecture)",
                    path=self.path,
                ),
                hint=tr("It is no model for llama.cpp; look for another GGUF."),
                path=str(self.path),
            )
        return found

    @property
    def name(self) -> str:
        """What the model calls itself, else its file's name."""
        return self.metadata.text("general.name") or self.path.stem

    @property
    def type(self) -> str:
        """``model``, ``mmproj`` (a vision or audio projector), ``adapter`` (LoRA), ``imatrix``."""
        stated = self.metadata.text("general.type")
        if stated:
            return stated
        return "mmproj" if self.metadata.text("general.architecture") == "clip" else "model"

    # Architecture. Head counts and the like may be one number or one per layer.

    @property
    def block_count(self) -> int | None:
        """Layers of the network, without embedding and output."""
        return self.metadata.integer(self.key("block_count"))

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was trained for."""
        return self.metadata.integer(self.key("context_length"))

    @property
    def embedding_length(self) -> int | None:
        """Numbers per token between layers; of an embedding model, per vector."""
        return self.metadata.integer(self.key("embedding_length"))

    @property
    def head_count(self) -> int | None:
        """Attention heads; where layers differ, the most."""
        return self._most("attention.head_count")

    @property
    def head_count_kv(self) -> int | None:
        """Key/value heads; where layers differ, the most. Every head has its own by default."""
        found = self._most("attention.head_count_kv")
        return self.head_count if found is None else found

    @property
    def expert_count(self) -> int:
        """Experts per layer; 0 for a dense model."""
        return self.metadata.integer(self.key("expert_count")) or 0

    @property
    def experts_used(self) -> int:
        """Experts that each token goes through; 0 for a dense model."""
        return self.metadata.integer(self.key("expert_used_count")) or 0

    @property
    def sliding_window(self) -> int | None:
        return self.metadata.integer(self.key("attention.sliding_window")) or None

    @property
    def vocabulary_size(self) -> int | None:
        """Tokens that the model knows."""
        stated = self.metadata.integer(self.key("vocab_size"))
        return self.metadata.count("tokenizer.ggml.tokens") or stated

    @property
    def tokenizer(self) -> str | None:
        """The tokenizer's kind and its pre-tokenizer, such as ``gpt2 (qwen2)``."""
        kind = self.metadata.text("tokenizer.ggml.model")
        pre = self.metadata.text("tokenizer.ggml.pre")
        return f"{kind} ({pre})" if kind and pre else kind

    # What it can do.

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of its chats; ``None`` for a base model."""
        return self.metadata.text("tokenizer.chat_template")

    @cached_property
    def chat_features(self) -> TemplateFeatures | None:
        """What its chat template provides for; ``None`` without a template."""
        return template_features(self.chat_template)

    @cached_property
    def has_fim(self) -> bool:
        """Fill-in-the-middle tokens are there: it can complete inside a line."""
        return has_fim(self.metadata, self.headers[0].vocabulary)

    @property
    def pooling_type(self) -> str | None:
        """``mean``, ``cls``, ``last``, ``rank`` or ``none``; ``None`` when the header is silent."""
        number = self.metadata.integer(self.key("pooling_type"))
        return None if number is None else POOLING.get(number)

    @property
    def is_embedding(self) -> bool:
        """Made for embeddings: an encoder, or a header that asks for pooling."""
        pools = self.pooling_type not in {None, "none"}
        return self.architecture in _ENCODERS or pools

    @property
    def is_projector(self) -> bool:
        """It is a vision or audio part for another model (``mmproj``), not a model."""
        return self.type == "mmproj"

    # Quantization.

    @cached_property
    def quantization_mix(self) -> dict[str, int]:
        """Bytes by tensor format, most first."""
        mix: Counter[str] = Counter()
        for tensor in self.tensors:
            mix[tensor.ggml_type.name] += tensor.n_bytes
        return dict(mix.most_common())

    @property
    def quantization(self) -> str:
        """What the quantizer was asked for (``Q4_K_M``), else the format of most bytes.

        ``general.file_type`` is believed only when the tensors bear it out: converters that
        requantize often leave the old value standing.
        """
        stated = FILE_TYPES.get(self.metadata.integer("general.file_type") or 0)
        if not self.quantization_mix:
            return stated or "unknown"
        if self.metadata.integer("general.file_type") is None or stated is None:
            return next(iter(self.quantization_mix))
        # Q4_K_M is made of Q4_K; the IQ mixes (IQ3_M) have no format of their name.
        format_name = re.sub(r"_(?:S|M|L|XS|MOE)$", "", stated)
        if stated not in TYPES_BY_NAME:
            stands = format_name not in TYPES_BY_NAME or format_name in self.quantization_mix
        else:
            stands = stated in self.quantization_mix and (
                (stated in _PLAIN) == (next(iter(self.quantization_mix)) in _PLAIN)
            )
        return stated if stands else next(iter(self.quantization_mix))

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self.tensor_bytes / self.parameters if self.parameters else None

    def _most(self, name: str) -> int | None:
        values = self.metadata.integers(self.key(name))
        return max(values, default=None) if values is not None else None
