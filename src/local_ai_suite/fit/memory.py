"""The bytes of a loaded model, part by part, as llama.cpp allocates them.

Each function names the place in llama.cpp that it follows; ``make bench-fit`` holds them against
what the engine's own log says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.gguf import TYPES_BY_NAME

if TYPE_CHECKING:
    from .shape import Layer, ModelShape

F16, F32, I32, I64 = 2, 4, 4, 8
CONTEXT_STEP = 256  # llama_context rounds the context of a sequence up to this
DEFAULT_UBATCH = 512
DEFAULT_BATCH = 2048
OFFLOAD_BATCH = 32  # tokens: GGML_OP_OFFLOAD_MIN_BATCH's default, in CUDA and in Vulkan


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How the model is loaded: the engine's flags. ``ctx_size`` is tokens per slot."""

    ctx_size: int
    parallel: int = 1
    kv_unified: bool = False
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attention: bool = True
    ubatch_size: int = DEFAULT_UBATCH
    batch_size: int = DEFAULT_BATCH
    embedding: bool = False
    n_gpu_layers: int = 0
    n_cpu_moe: int = 0

    @property
    def cells(self) -> int:
        """Cache cells of one stream (``llama_context``: n_ctx_seq, padded)."""
        return pad(self.ctx_size)

    @property
    def n_ctx(self) -> int:
        """The engine's ``--ctx-size``: all slots together."""
        return self.cells * (1 if self.kv_unified else self.parallel)

    @property
    def tokens(self) -> int:
        """Tokens of the largest batch that the compute buffers are made for."""
        return min(self.n_ctx, self.batch_size, self.ubatch_size)


def pad(tokens: int) -> int:
    """``GGML_PAD(n, 256)``."""
    return -(-tokens // CONTEXT_STEP) * CONTEXT_STEP


def cache_bytes(shape: ModelShape, layer: Layer, load: Load) -> int:
    """Key/value cache and recurrent state of one layer.

    ``llama_kv_cache::llama_kv_cache`` (cells x streams x width, in the cache's types, the V cache
    padded to the widest layer without flash attention), ``llama_kv_cache_iswa`` (a window keeps
    ``window + ubatch`` cells, rounded up to 256, never more than the context) and
    ``llama_memory_recurrent`` (F32, one row per sequence, whatever the cache types are).
    """
    state = layer.state_values * F32 * load.parallel
    if layer.shares_cache:
        return state
    streams = 1 if load.kv_unified else load.parallel
    cells = load.cells
    if layer.in_window:
        window = shape.window * (load.parallel if load.kv_unified else 1)
        cells = pad(min(cells, window + load.tokens))
    v_width = layer.v_width
    if v_width and not load.flash_attention:
        v_width = max(other.v_width for other in shape.layers)
    per_cell = _row(load.cache_type_k, layer.k_width) + _row(load.cache_type_v, v_width)
    return state + per_cell * cells * streams


def _row(cache_type: str, width: int) -> int:
    return TYPES_BY_NAME[cache_type.upper()].row_bytes(width) if width else 0


def cache_type_works(shape: ModelShape, cache_type: str) -> bool:
    """Whether every layer's rows divide into the type's blocks; the engine refuses others."""
    block = TYPES_BY_NAME[cache_type.upper()].block
    return all(
        shape.head_width_k % block == 0 and shape.head_width_v % block == 0
        for layer in shape.layers
        if layer.k_width
    )


def on_gpu(shape: ModelShape, load: Load, layer: int) -> bool:
    """``llama_model::load_tensors``: the last ``n_gpu_layers`` of the blocks and the output."""
    return layer >= len(shape.layers) + 1 - load.n_gpu_layers


def layer_weights(layer: Layer, *, experts_on_cpu: bool) -> tuple[int, int]:
    """(bytes that follow the layer to its device, bytes of experts kept on the CPU)."""
    if experts_on_cpu:
        return layer.weight_bytes - layer.expert_bytes, layer.expert_bytes
    return layer.weight_bytes, 0


def output_weights(shape: ModelShape) -> int:
    """What the output layer takes on a GPU: tied embeddings are duplicated there."""
    return shape.output_bytes + shape.tied_bytes


def compute_bytes(shape: ModelShape, load: Load) -> int:
    """The scratch memory of the largest batch, on the device that runs the layers.

    ``llama_context::sched_reserve`` plans the graph for a full batch; ``ggml_gallocr`` reuses what
    is no longer needed. So this is the inputs (mask, positions), plus the widest moment of the
    graph: the feed-forward, the experts, the attention, the recurrent scan or the logits. Beside
    each stand four copies of the batch as it flows through the layers (the residual, normalized,
    and what the allocator cannot close up), as ``make bench-fit`` finds for every architecture.
    """
    stream = load.tokens * shape.embedding_length * F32
    widest = max(
        _feed_forward(shape, load.tokens),
        _attention(shape, load),
        _scan(shape, load),
        _logits(shape, load),
    )
    return _inputs(shape, load) + 4 * stream + widest


def _inputs(shape: ModelShape, load: Load) -> int:
    """Embeddings read from the CPU, ids, and an attention mask per kind of cache."""
    tokens = load.tokens
    mask = F16 if load.flash_attention else F32
    cells = load.cells if shape.has_memory else tokens
    kinds = {layer.in_window for layer in shape.layers if layer.k_width or not shape.has_memory}
    size = 0
    for in_window in kinds:
        width = min(cells, pad(shape.window + tokens)) if in_window else cells
        size += tokens * width * mask
    wide = shape.embedding_length + 2 * shape.layer_inputs
    return size + tokens * (wide * F32 + 4 * I32 + 2 * I64)


def _feed_forward(shape: ModelShape, tokens: int) -> int:
    """Gate, up and their product; for experts once per expert that a token uses.

    What the experts give goes where gate and up were, if it is no wider than both; else beside.
    """
    widest = max((layer.ffn_width for layer in shape.layers), default=0)
    if shape.experts:
        hidden = shape.expert_feed_forward
        result = shape.embedding_length if shape.embedding_length > 2 * hidden else 0
        widest = max(widest, shape.experts_used * (3 * hidden + result))
    return tokens * widest * F32


def _attention(shape: ModelShape, load: Load) -> int:
    """Queries, keys, values and the result; without flash attention all scores as well."""
    tokens = load.tokens
    width_q = shape.heads * max(shape.head_width_k, shape.head_width_v)
    width_kv = max((layer.k_width + layer.v_width for layer in shape.layers), default=0)
    size = tokens * (2 * width_q + width_kv) * F32
    if not load.flash_attention:
        cells = load.cells if shape.has_memory else tokens
        size += tokens * cells * shape.heads * F32
    return size


def _scan(shape: ModelShape, load: Load) -> int:
    """Recurrent layers: the projected inputs, the states and the result of the scan."""
    state = max((layer.state_values for layer in shape.layers), default=0)
    if not state:
        return 0
    inner = shape.inner_width or shape.embedding_length
    return load.tokens * 5 * inner * F32 + 2 * state * F32 * load.parallel


def _logits(shape: ModelShape, load: Load) -> int:
    """llama-server asks for one row of logits per slot, in embedding mode for every token."""
    rows = load.tokens if load.embedding else min(load.tokens, load.parallel)
    return 0 if not shape.has_memory else rows * shape.vocabulary * F32


def host_compute_bytes(shape: ModelShape, load: Load) -> int:
    """The CPU's part of a graph that runs on a GPU: its inputs (the ``CUDA_Host`` buffer)."""
    return _inputs(shape, load) + load.tokens * shape.embedding_length * F32


def offloads_batches(load: Load) -> bool:
    """Whether weights that lie on the CPU are copied to the first GPU for a large batch.

    llama.cpp's op-offload: ``ggml_backend_cuda_device_offload_op``, and the same in Vulkan.
    """
    return load.tokens >= OFFLOAD_BATCH


def offloaded_bytes(shape: ModelShape, layer: Layer, load: Load, *, only_experts: bool) -> int:
    """What the first GPU needs to multiply a batch with a weight of ``layer`` that lies on the CPU.

    ``ggml_backend_sched_split_graph`` begins a new split before each such weight, so that one copy
    at a time is there: the largest tensor, and beside it the inputs, three copies of the batch as
    it flows, and what goes into and comes out of the feed-forward. ``only_experts``: of this layer
    the experts alone lie on the CPU. Found with a Vulkan engine, for mixtures and dense models.
    """
    tokens, width = load.tokens, shape.embedding_length
    around = _inputs(shape, load) + 3 * tokens * width * F32
    hidden = shape.expert_feed_forward
    # Up while gate's result waits; down, whose result is as wide as the stream.
    experts = tokens * shape.experts_used * max(2 * hidden, hidden + width) * F32
    needed = layer.largest_expert + experts if layer.largest_expert else 0
    if not only_experts:
        dense = tokens * max(layer.ffn_width * 2 // 3, 2 * shape.inner_width) * F32
        needed = max(needed, layer.largest_weight + dense)
    return around + needed if needed else 0


def host_layers_bytes(shape: ModelShape, load: Load) -> int:
    """The CPU's part of its own layers' graph where weights are offloaded: what is multiplied with
    no weight, the scores without flash attention and the recurrent scan."""
    scores = 0 if load.flash_attention else _attention(shape, load)
    return host_compute_bytes(shape, load) + max(scores, _scan(shape, load))


def projector_compute_bytes(patches: int, width: int, feed_forward: int, *, gated: bool) -> int:
    """Scratch for encoding one image of ``patches`` patches, with flash attention.

    ``clip_model_loader::reserve_compute_meta`` (tools/mtmd/clip.cpp) plans the graph for the
    largest image: the feed-forward and three copies of the patches as they flow through it.
    """
    held = 3 if gated else 1
    return patches * (held * feed_forward + 3 * width) * F32
