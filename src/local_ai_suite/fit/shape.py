"""A model as the planner sees it: bytes and widths per layer, taken from the header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import FitError
from local_ai_suite.messages import tr

from .patterns import NO_MEMORY, layer_memory, shared_from, window_layers

if TYPE_CHECKING:
    from local_ai_suite.gguf import GgufFile

_BLOCK = re.compile(r"(?:blk|dec\.blk|enc\.blk)\.(\d+)\.")
_EXPERTS = re.compile(r"\.ffn_(?:up|down|gate|gate_up)_(?:ch|)exps")  # what --n-cpu-moe moves
_FFN = re.compile(r"(?:blk|dec\.blk|enc\.blk)\.(\d+)\.ffn_(up|gate|down)\.weight")
_INPUT = ("token_embd", "token_types", "position_embd", "per_layer_token_embd")
F32 = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. ``k_width`` and ``v_width`` are cached values per token, 0 without a cache.

    ``ffn_width`` is what its dense feed-forward holds per token at once: the outputs of gate and
    up, and their product; without a gate the activation works in place.
    """

    weight_bytes: int
    expert_bytes: int
    k_width: int
    v_width: int
    in_window: bool
    state_values: int  # recurrent state per sequence (r and s), always F32
    ffn_width: int
    shares_cache: bool
    largest_weight: int = 0  # bytes of the largest tensor, experts aside
    largest_expert: int = 0  # bytes of the largest tensor that holds experts


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Widths in elements, sizes in bytes. See ``gguf`` for what a header calls them."""

    name: str
    architecture: str
    layers: tuple[Layer, ...]
    input_bytes: int
    output_bytes: int
    tied_bytes: int  # of the token embedding, where it serves as the output, too; else 0
    window: int
    embedding_length: int
    heads: int
    head_width_k: int
    head_width_v: int
    vocabulary: int
    experts: int
    experts_used: int
    expert_feed_forward: int
    trained_context: int | None
    is_embedding: bool
    has_memory: bool
    file_bytes: int
    inner_width: int = 0  # of the recurrent layers (ssm.inner_size)
    state_width: int = 0  # ssm.state_size
    layer_inputs: int = (
        0  # values per token that go into the layers beside the stream (Gemma 3n, 4)
    )

    @property
    def weight_bytes(self) -> int:
        return self.input_bytes + self.output_bytes + sum(x.weight_bytes for x in self.layers)

    @property
    def is_moe(self) -> bool:
        return any(layer.expert_bytes for layer in self.layers)

    @property
    def gpu_layers(self) -> int:
        """How many layers ``--n-gpu-layers`` counts: the blocks and the output."""
        return len(self.layers) + 1


def model_shape(model: GgufFile) -> ModelShape:
    """Read the shape from ``model``; raises :class:`FitError` for a header without one."""
    count = model.block_count
    width = model.embedding_length
    if model.is_projector or not count or not width:
        raise FitError(
            tr(
                "{path}: the header of this {architecture} file describes no layers, so "
                "nothing can be planned for it",
                path=model.path,
                architecture=model.architecture,
            ),
            hint=tr("Name a language or embedding model (not a projector or an adapter)."),
        )
    if count > 10_000:
        raise FitError(
            tr("{path}: claims {count} layers", path=model.path, count=count),
            hint=tr("The file is damaged."),
        )
    weights, experts, ends = _bytes(model, count)
    largest = _largest(model, count)
    ffn = _ffn_widths(model, count)
    kept = model.metadata
    heads = _per_layer(model, "attention.head_count", count, 0)
    heads_kv = _per_layer(model, "attention.head_count_kv", count, heads)
    feed_forward = _per_layer(model, "feed_forward_length", count, 0)
    first_heads = next((n for n in heads if n), 0)
    default = width // first_heads if first_heads else 0
    k_head = _integer(model, "attention.key_length", default)
    v_head = _integer(model, "attention.value_length", default)
    k_window = _integer(model, "attention.key_length_swa", k_head)
    v_window = _integer(model, "attention.value_length_swa", v_head)
    is_latent = bool(kept.integer(model.key("attention.key_length_mla")))  # MLA caches only K
    window, in_window = window_layers(model, count)
    widths = [(k_window, v_window) if swa else (k_head, v_head) for swa in in_window]
    memory = layer_memory(model, count, heads_kv, feed_forward)
    shared = shared_from(model, count)
    next_token = _integer(model, "nextn_predict_layers", 0)
    state = _state_values(model, width, first_heads)
    layers = tuple(
        Layer(
            # Layers that only predict further tokens (MTP) are not loaded without that.
            weight_bytes=weights[n] if n < count - next_token else 0,
            expert_bytes=experts[n] if n < count - next_token else 0,
            k_width=widths[n][0] * heads_kv[n] if memory[n].attends else 0,
            v_width=widths[n][1] * heads_kv[n] if memory[n].attends and not is_latent else 0,
            in_window=in_window[n],
            state_values=state if memory[n].recurrent else 0,
            ffn_width=ffn[n],
            shares_cache=n >= shared or n >= count - next_token,
            largest_weight=largest[n][0] if n < count - next_token else 0,
            largest_expert=largest[n][1] if n < count - next_token else 0,
        )
        for n in range(count)
    )
    return ModelShape(
        name=model.name,
        architecture=model.architecture,
        layers=layers,
        input_bytes=ends["input"],
        output_bytes=ends["output"],
        tied_bytes=_tied_bytes(model),
        window=window,
        embedding_length=width,
        heads=max(heads, default=0),
        head_width_k=k_head,
        head_width_v=v_head,
        vocabulary=model.vocabulary_size or 0,
        experts=model.expert_count,
        experts_used=model.experts_used,
        expert_feed_forward=_integer(model, "expert_feed_forward_length", 0) or max(feed_forward),
        trained_context=model.context_length,
        is_embedding=model.is_embedding,
        has_memory=model.architecture not in NO_MEMORY,
        file_bytes=model.size_bytes,
        inner_width=_integer(model, "ssm.inner_size", 0),
        state_width=_integer(model, "ssm.state_size", 0),
        layer_inputs=_integer(model, "embedding_length_per_layer_input", 0) * count,
    )


def _bytes(model: GgufFile, count: int) -> tuple[list[int], list[int], dict[str, int]]:
    weights, experts = [0] * count, [0] * count
    ends = {"input": 0, "output": 0}
    for tensor in model.tensors:
        match = _BLOCK.match(tensor.name)
        if match and int(match[1]) < count:
            weights[int(match[1])] += tensor.n_bytes
            if _EXPERTS.search(tensor.name):
                experts[int(match[1])] += tensor.n_bytes
        else:
            ends["input" if tensor.name.startswith(_INPUT) else "output"] += tensor.n_bytes
    return weights, experts, ends


def _largest(model: GgufFile, count: int) -> list[tuple[int, int]]:
    """Per layer: bytes of the largest tensor without experts, and of the largest with them."""
    found = [(0, 0)] * count
    for tensor in model.tensors:
        match = _BLOCK.match(tensor.name)
        if match and int(match[1]) < count:
            dense, experts = found[int(match[1])]
            if _EXPERTS.search(tensor.name):
                experts = max(experts, tensor.n_bytes)
            else:
                dense = max(dense, tensor.n_bytes)
            found[int(match[1])] = dense, experts
    return found


def _ffn_widths(model: GgufFile, count: int) -> list[int]:
    """Per layer: what gate and up give, and their product, which is what down takes."""
    sizes: list[dict[str, int]] = [{} for _ in range(count)]
    for tensor in model.tensors:
        match = _FFN.fullmatch(tensor.name)
        if match and int(match[1]) < count and len(tensor.shape) > 1:
            sizes[int(match[1])][match[2]] = tensor.shape[0 if match[2] == "down" else 1]
    widths = []
    for size in sizes:
        up, gate, down = (size.get(part, 0) for part in ("up", "gate", "down"))
        is_gated = gate or up == 2 * down  # Phi-3 keeps gate and up in one tensor
        widths.append(up + gate + (down if is_gated else 0))
    return widths


def _tied_bytes(model: GgufFile) -> int:
    sizes = {tensor.name: tensor.n_bytes for tensor in model.tensors}
    if "output.weight" in sizes or model.architecture in NO_MEMORY:
        return 0
    return sizes.get("token_embd.weight", 0)


def _integer(model: GgufFile, name: str, default: int) -> int:
    values = model.metadata.integers(model.key(name))
    return max(0, *values) if values else default


def _per_layer(
    model: GgufFile, name: str, count: int, default: int | tuple[int, ...]
) -> tuple[int, ...]:
    """One number for every layer, or one per layer (``llama_model_loader::get_key_or_arr``)."""
    values = model.metadata.integers(model.key(name))
    if values is None:
        return default if isinstance(default, tuple) else (default,) * count
    values = tuple(max(0, value) for value in values)
    if len(values) == 1:
        return values * count
    return (*values, *(0,) * count)[:count]


def _state_values(model: GgufFile, width: int, heads: int) -> int:
    """Values per sequence and recurrent layer: ``llama_hparams::n_embd_r`` plus ``n_embd_s``."""
    get = model.metadata.integer
    if head := get(model.key("wkv.head_size")):
        shifts = get(model.key("token_shift_count")) or 2
        return shifts * width + width * head
    if cache := get(model.key("shortconv.l_cache")):
        return width * (cache - 1)
    kernel = get(model.key("ssm.conv_kernel")) or 0
    if head := get(model.key("kda.head_dim")):
        return 3 * (kernel - 1 if kernel else 3) * heads * head + head * head * heads
    inner = get(model.key("ssm.inner_size")) or 0
    state = get(model.key("ssm.state_size")) or 0
    groups = get(model.key("ssm.group_count")) or 0
    return max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner
