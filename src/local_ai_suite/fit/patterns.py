"""Which layers attend to a window, which to everything, and which keep a recurrent state.

From the ``load_arch_hparams`` of each architecture in llama.cpp's ``src/models/`` and from
``llama_model::create_memory``: headers seldom say this, the engine's code does. An architecture
that is not listed attends to everything in every layer, as the engine treats it (the window that
Mistral's and Phi-3's headers name is ignored there too).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_ai_suite.gguf import GgufFile


@dataclass(frozen=True, slots=True)
class Window:
    """``period`` layers repeat, one of them attends to everything: the last, or the first.

    ``tokens`` is the window that the engine assumes whatever the header says, ``None`` when the
    header's counts.
    """

    period: int
    dense_first: bool = False
    tokens: int | None = None
    required: bool = True  # without a window in the header, the model has none


_WINDOWS: dict[str, Window] = {
    "afmoe": Window(4),
    "cohere2": Window(4),
    "cohere2moe": Window(4, dense_first=True),
    "exaone-moe": Window(4, tokens=128, required=False),
    "gemma2": Window(2, tokens=4096, required=False),
    "gemma3": Window(6),
    "gemma3n": Window(5),
    "gpt-oss": Window(2),
    "laguna": Window(4, dense_first=True),
    "mellum": Window(4),
    "muse-glimmer": Window(4),
    "olmo2": Window(4),
    "plamo3": Window(8),
    "smallthinker": Window(4, dense_first=True, tokens=4096),
    # These carry the pattern in the header, one entry per layer.
    **dict.fromkeys(
        ("gemma4", "granite_swa", "maple", "mimo2", "spark2-5", "step35"),
        Window(1),
    ),
}
_EXAONE4_WITH_WINDOW = 64  # exaone4: only the model of 64 layers (32B) has a window

# Architectures without any memory between batches: encoders and diffusion models.
NO_MEMORY = frozenset({
    "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
    "jina-bert-v3", "eurobert", "gemma-embedding", "gemma-embedding2", "dream", "llada",
    "llada-moe", "rnd1", "clef", "wavtokenizer-dec",
})  # fmt: skip
RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
# Hybrids whose recurrent layers are those without key/value heads.
_NO_KV_HEADS = frozenset({
    "jamba", "lfm2", "lfm2moe", "plamo2", "granitehybrid", "kimi-linear", "kimi-k3", "bailingmoe3",
    "glm5-next",
})  # fmt: skip
# Hybrids where every n-th layer attends (full_attention_interval, 4 by default).
_INTERVAL = frozenset({"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"})
_NEMOTRON = frozenset({"nemotron_h", "nemotron_h_moe"})


def window_layers(model: GgufFile, layers: int) -> tuple[int, tuple[bool, ...]]:
    """The window in tokens (0: none) and, for each layer, whether it attends only to the window."""
    none = (0, (False,) * layers)
    found = _window(model, layers)
    stated = model.metadata.integer(model.key("attention.sliding_window"))
    if model.architecture in {"lfm2", "lfm2moe"} and stated:  # every layer that attends at all
        return stated, (True,) * layers
    if found is None:
        return none
    if stated == 0 or (stated is None and found.required):
        return none
    tokens = found.tokens or stated or 0
    if not tokens:
        return none
    pattern = model.metadata.integers(model.key("attention.sliding_window_pattern"))
    period = found.period
    if pattern is not None and len(pattern) > 1:
        padded = (*pattern, *(0,) * layers)[:layers]
        return tokens, tuple(bool(item) for item in padded)
    if pattern:
        period = pattern[0]
    if found.period == 1 and not pattern:
        return none
    return tokens, tuple(_in_window(layer, period, found.dense_first) for layer in range(layers))


def _window(model: GgufFile, layers: int) -> Window | None:
    if model.architecture == "exaone4":
        window = Window(4, tokens=4096, required=False)
        return window if layers == _EXAONE4_WITH_WINDOW else None
    if model.architecture == "llama4":  # chunks of 8192; a stated window of 0 switches them off
        return Window(4, tokens=8192, required=False)
    return _WINDOWS.get(model.architecture)


def _in_window(layer: int, period: int, dense_first: bool) -> bool:
    """``llama_hparams::set_swa_pattern``."""
    if period == 0:
        return True
    return layer % period != 0 if dense_first else layer % period < period - 1


@dataclass(frozen=True, slots=True)
class LayerMemory:
    attends: bool
    recurrent: bool


def layer_memory(
    model: GgufFile, layers: int, heads_kv: tuple[int, ...], feed_forward: tuple[int, ...]
) -> tuple[LayerMemory, ...]:
    """What each layer remembers between tokens (the filters of ``llama_model::create_memory``)."""
    architecture = model.architecture
    if architecture in NO_MEMORY:
        return (LayerMemory(attends=False, recurrent=False),) * layers
    if architecture in RECURRENT:
        return (LayerMemory(attends=False, recurrent=True),) * layers
    if architecture == "falcon-h1":
        return (LayerMemory(attends=True, recurrent=True),) * layers
    if architecture in _NO_KV_HEADS:
        return tuple(LayerMemory(attends=n > 0, recurrent=n == 0) for n in heads_kv)
    if architecture in _NEMOTRON:
        return tuple(
            LayerMemory(attends=kv > 0 and ff == 0, recurrent=kv == 0 and ff == 0)
            for kv, ff in zip(heads_kv, feed_forward, strict=True)
        )
    if architecture in _INTERVAL:
        every = model.metadata.integer(model.key("full_attention_interval")) or 4
        stated = model.metadata.integers(model.key("attention.recurrent_layers"))
        if stated is not None and len(stated) >= layers:
            return tuple(LayerMemory(attends=not r, recurrent=bool(r)) for r in stated[:layers])
        return tuple(
            LayerMemory(attends=(n + 1) % every == 0, recurrent=(n + 1) % every != 0)
            for n in range(layers)
        )
    return (LayerMemory(attends=True, recurrent=False),) * layers


def shared_from(model: GgufFile, layers: int) -> int:
    """From this layer on, layers reuse the cache of an earlier one (gemma3n, gemma4)."""
    if model.architecture == "gemma3n":
        return min(20, layers)
    if model.architecture == "gemma4":
        shared = model.metadata.integer(model.key("attention.shared_kv_layers")) or 0
        return max(0, layers - shared)
    return layers
