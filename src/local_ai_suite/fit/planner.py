"""The plan: which way of loading a model is the best one that fits this machine.

Order of preference on a machine with a GPU, each with as much context as fits (up to the ceiling):

1. everything on the GPU, cache in F16, with a context that is good to work with;
2. everything on the GPU, cache in Q8_0 (half the bytes, hardly a difference in the answers);
3. experts of a mixture-of-experts model on the CPU, as few layers of them as needed: they are
   most of the bytes and the least of the work;
4. as many layers on the GPU as fit;
5. the CPU alone.

Explicit settings are kept whatever follows; the plan then says whether they fit and what would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from local_ai_suite.errors import FitError
from local_ai_suite.messages import tr

from .machine import devices
from .memory import (
    CONTEXT_STEP,
    DEFAULT_BATCH,
    DEFAULT_UBATCH,
    Load,
    cache_type_works,
    projector_compute_bytes,
)
from .plan import MIB, FitPlan
from .projection import Projector, project
from .reasons import cautions, reasons_for, shortfall
from .shape import model_shape
from .speed import load_seconds, tokens_per_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .plan import DevicePlan, FitRequest
    from .shape import ModelShape

# Tokens per slot. A coding agent's own prompt is 10 to 15 thousand tokens, so less than GOOD is
# only planned when nothing else helps; more than CEILING costs memory that few people use.
CONTEXT_CEILING = 32_768
CONTEXT_GOOD = 16_384
CONTEXT_LEAST = 4_096
EMBED_LEAST = 512
# A layer on the CPU slows every token, a shorter context only some conversations.
CONTEXT_PARTIAL = 8_192
EMBED_CEILING = 2_048  # a passage; the whole of it goes through in one batch
UNKNOWN_TRAINED = 4_096  # what to assume of a header without a context length
# The cache may take this share of the memory that is free, where the model runs on the CPU.
CPU_CACHE_SHARE = 0.25
PARALLEL_GPU, PARALLEL_CPU = 4, 2  # slots, when each gets the whole ceiling
# Further slots may not take more of a GPU than this: the rest is for a second model beside it.
SLOTS_SHARE = 0.6
CACHE_RAM_SHARE, CACHE_RAM_MOST = 0.1, 2048 * MIB
QUANTIZED = "q8_0"


def plan(request: FitRequest) -> FitPlan:
    """Decide; pure. Raises :class:`FitError` for a file that is no model.

    A plan that does not fit is returned, with ``fits`` false and the reason in ``warnings``.
    """
    return _Search(request).run()


class _Search:
    def __init__(self, request: FitRequest) -> None:
        self.shape: ModelShape = model_shape(request.model)
        self.asked = request
        self.request = _as_the_engine_gives(request, self.shape.trained_context)
        self.gpus, self.cpu = devices(request)
        self.projector = _projector(request)
        self.embedding = request.purpose == "embed" or self.shape.is_embedding
        self.ceiling = self._ceiling()

    def run(self) -> FitPlan:
        chosen: Load | None = None
        for load in self._candidates():
            chosen = load
            if self.fits(load):
                break
        if chosen is None:
            raise FitError(
                tr("no way to load this model was found"), hint=tr("Report this as a defect.")
            )
        if self.fits(chosen):
            chosen = self._more_slots(chosen)
        return self._answer(chosen)

    # Candidates, best first

    def _candidates(self) -> Iterator[Load]:
        if self._may_use_gpu():
            yield from self._on_gpu()
        if self.request.n_gpu_layers in {None, 0} or not self.gpus:
            yield from self._on_cpu()

    def _may_use_gpu(self) -> bool:
        if not self.gpus or self.request.n_gpu_layers == 0:
            return False
        known = all(gpu.free_bytes is not None for gpu in self.gpus)
        return known or self.request.n_gpu_layers is not None

    def _on_gpu(self) -> Iterator[Load]:
        explicit = self.request.n_gpu_layers
        everything = self.shape.gpu_layers if explicit is None else explicit
        moe = self.request.n_cpu_moe or 0
        for cache in self._cache_types():
            is_last_resort = cache == self._cache_types()[-1]
            least = CONTEXT_LEAST if is_last_resort else CONTEXT_GOOD
            base = self._load(cache, n_gpu_layers=everything, n_cpu_moe=moe)
            if load := self._with_most_context(base, least):
                yield load
        if self.shape.is_moe and self.request.n_cpu_moe is None:
            yield from self._experts_on_cpu(everything)
        if explicit is None:
            yield from self._fewer_layers()
        else:
            # What was asked for, although it does not fit: the smallest context that makes sense.
            yield self._at_least(self._load(self._cache_types()[-1], explicit, moe))

    def _experts_on_cpu(self, layers: int) -> Iterator[Load]:
        for cache in self._cache_types():
            base = replace(self._load(cache, layers, 0), ctx_size=self._floor(CONTEXT_GOOD))
            count = self._fewest_experts(base)
            if count is None:
                continue
            if load := self._with_most_context(replace(base, n_cpu_moe=count), CONTEXT_GOOD):
                yield load

    def _fewest_experts(self, base: Load) -> int | None:
        """Of how many layers the experts must leave the GPU for ``base`` to fit."""
        most = len(self.shape.layers)
        return _least(1, most, lambda n: self.fits(replace(base, n_cpu_moe=n)))

    def _fewer_layers(self) -> Iterator[Load]:
        cache = self._cache_types()[-1]
        # With every expert on the CPU already, where that is possible.
        moe = len(self.shape.layers) if self.shape.is_moe else self.request.n_cpu_moe or 0
        base = replace(self._load(cache, 0, moe), ctx_size=self._floor(CONTEXT_PARTIAL))
        most = self.shape.gpu_layers
        fewer = _least(0, most - 1, lambda n: self.fits(replace(base, n_gpu_layers=most - n)))
        if fewer is None:
            return
        load = replace(base, n_gpu_layers=most - fewer)
        if found := self._with_most_context(load, CONTEXT_PARTIAL):
            yield found

    def _on_cpu(self) -> Iterator[Load]:
        cache = self._cache_types()[0]
        base = self._load(cache, 0, 0)
        if load := self._with_most_context(base, CONTEXT_LEAST, self._cache_is_modest):
            yield load
        yield self._at_least(base)

    def _cache_is_modest(self, load: Load) -> bool:
        free = self.cpu.free_bytes
        parts = self._project(load)[-1].parts
        return free is not None and parts.kv_cache + parts.compute <= free * CPU_CACHE_SHARE

    # Context and slots

    def _with_most_context(
        self, base: Load, least: int, also: Callable[[Load], bool] | None = None
    ) -> Load | None:
        """``base`` with the largest context that fits, not under ``least``; ``None`` if none."""
        if self.request.ctx_size is not None:
            return base if self.fits(base) else None
        low = self._floor(least)
        steps = (self.ceiling - low) // CONTEXT_STEP

        def good(fewer: int) -> bool:
            load = replace(base, ctx_size=self.ceiling - fewer * CONTEXT_STEP)
            return self.fits(load) and (also is None or also(load))

        fewer = _least(0, max(0, steps), good)
        if fewer is None:
            return None
        return replace(base, ctx_size=max(low, self.ceiling - fewer * CONTEXT_STEP))

    def _at_least(self, base: Load) -> Load:
        if self.request.ctx_size is not None:
            return base
        return replace(base, ctx_size=self._floor(CONTEXT_LEAST))

    def _floor(self, least: int) -> int:
        """``least``, as far as the model was trained for it; what was set explicitly."""
        return self.request.ctx_size or min(EMBED_LEAST if self.embedding else least, self.ceiling)

    def _ceiling(self) -> int:
        trained = self.shape.trained_context or UNKNOWN_TRAINED
        if self.request.ctx_size is not None:
            return self.request.ctx_size
        # The engine rounds up to its step; more than it was trained for makes a model worse.
        trained = max(CONTEXT_STEP, trained // CONTEXT_STEP * CONTEXT_STEP)
        return min(trained, EMBED_CEILING if self.embedding else CONTEXT_CEILING)

    def _more_slots(self, load: Load) -> Load:
        """Further slots, as long as each keeps the whole context and everything still fits."""
        if self.request.parallel is not None or load.ctx_size < self.ceiling:
            return load
        most = PARALLEL_GPU if load.n_gpu_layers else PARALLEL_CPU
        for slots in range(most, 1, -1):
            wider = replace(load, parallel=slots)
            if self._slots_are_modest(wider) and self.fits(wider):
                return wider
        return load

    def _slots_are_modest(self, load: Load) -> bool:
        if not load.n_gpu_layers:
            return self._cache_is_modest(load)
        gpus = self._project(load)[:-1]
        return all(gpu.parts.total <= (gpu.free_bytes or 0) * SLOTS_SHARE for gpu in gpus)

    # Loads

    def _load(self, cache: tuple[str, str], n_gpu_layers: int, n_cpu_moe: int) -> Load:
        context = self.request.ctx_size or self.ceiling
        # An embedding model reads a whole text in one batch; the server refuses longer ones.
        batch = context if self.embedding else DEFAULT_BATCH
        return Load(
            ctx_size=context,
            parallel=self.request.parallel or 1,
            cache_type_k=cache[0],
            cache_type_v=cache[1],
            flash_attention=self.request.flash_attention is not False,
            ubatch_size=context if self.embedding else DEFAULT_UBATCH,
            batch_size=batch,
            embedding=self.embedding,
            n_gpu_layers=min(n_gpu_layers, self.shape.gpu_layers),
            n_cpu_moe=n_cpu_moe,
        )

    def _cache_types(self) -> list[tuple[str, str]]:
        """(K, V) types to try, best first; what was set explicitly is kept."""
        k, v = self.request.cache_type_k, self.request.cache_type_v
        found = [(k or "f16", v or "f16")]
        attends = any(layer.k_width for layer in self.shape.layers)
        if attends and cache_type_works(self.shape, QUANTIZED) and (k is None or v is None):
            # A quantized V cache needs flash attention.
            flash = self.request.flash_attention is not False
            found.append((k or QUANTIZED, v or (QUANTIZED if flash else "f16")))
        return list(dict.fromkeys(found))

    # Looking at a load

    def _project(self, load: Load) -> tuple[DevicePlan, ...]:
        return project(self.shape, load, self.gpus, self.cpu, self.projector)

    def fits(self, load: Load) -> bool:
        return all(device.fits for device in self._project(load))

    def _answer(self, load: Load) -> FitPlan:
        request, projected = self.request, self._project(load)
        fits = all(device.fits for device in projected)
        free = (self.cpu.free_bytes or 0) - projected[-1].parts.total
        quantized = load.cache_type_v not in {"f32", "f16", "bf16"}
        flash = request.flash_attention
        return FitPlan(
            model=self.shape.name,
            purpose=request.purpose,
            path=request.model.path,
            architecture=self.shape.architecture,
            n_gpu_layers=load.n_gpu_layers,
            gpu_layers_max=self.shape.gpu_layers,
            n_cpu_moe=load.n_cpu_moe if load.n_gpu_layers else 0,
            ctx_size=load.cells,
            n_ctx=load.n_ctx,
            trained_context=self.shape.trained_context,
            parallel=load.parallel,
            kv_unified=load.kv_unified,
            cache_type_k=load.cache_type_k,
            cache_type_v=load.cache_type_v,
            flash_attention="off" if flash is False else "on" if flash or quantized else "auto",
            batch_size=load.batch_size,
            ubatch_size=load.ubatch_size,
            threads=request.threads or request.hardware.cpu_threads,
            mmap=True,
            embedding=self.embedding,
            cache_ram_bytes=max(0, min(CACHE_RAM_MOST, int(free * CACHE_RAM_SHARE))),
            devices=projected,
            fits=fits,
            reasons=reasons_for(self.asked, self.shape, load, projected, self.ceiling),
            warnings=(
                *(() if fits else shortfall(projected)),
                *cautions(self.asked, self.shape, load),
            ),
            tokens_per_second=tokens_per_second(self.shape, load, self.gpus, self.cpu),
            load_seconds=load_seconds(self.shape.file_bytes, request.disk_speed),
        )


def _as_the_engine_gives(request: FitRequest, trained: int | None) -> FitRequest:
    """llama-server gives a slot no more context than the model was trained for (``n_ctx_slot`` of
    ``server-context.cpp``): more would only take memory."""
    if request.ctx_size is None or trained is None or request.ctx_size <= trained:
        return request
    return replace(request, ctx_size=trained)


def _projector(request: FitRequest) -> Projector | None:
    file = request.projector
    if file is None:
        return None
    get = file.metadata.integer
    patch = get("clip.vision.patch_size") or 0
    patches = ((get("clip.vision.image_size") or 0) // patch) ** 2 if patch else 0
    if merge := get("clip.vision.spatial_merge_size"):
        # Images keep their size (Qwen-VL, Pixtral): the engine plans for 46 x 46 merged patches.
        patches = max(patches, 46 * 46 * merge * merge)
    compute = projector_compute_bytes(
        patches,
        get("clip.vision.embedding_length") or 0,
        get("clip.vision.feed_forward_length") or 0,
        gated=any(".ffn_gate." in tensor.name for tensor in file.tensors),
    )
    return Projector(weights=file.tensor_bytes, compute=compute)


def _least(low: int, high: int, good: Callable[[int], bool]) -> int | None:
    """The least number in ``low..high`` that is good, if the greatest is; by bisection."""
    if high < low or not good(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if good(middle):
            high = middle
        else:
            low = middle + 1
    return low
