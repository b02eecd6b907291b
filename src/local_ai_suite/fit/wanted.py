"""The question the other way round: "I need 32k of context", and what that costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from local_ai_suite.errors import FitError
from local_ai_suite.messages import joined, tr

from .memory import cache_type_works
from .planner import plan
from .shape import model_shape

if TYPE_CHECKING:
    from .plan import FitPlan, FitRequest

# From what loses nothing to what is felt in long contexts; llama.cpp's perplexity figures put
# q8_0 within noise of f16, and q4_0's keys clearly beside it.
CACHES = (("f16", "f16"), ("q8_0", "q8_0"), ("q8_0", "q4_0"), ("q4_0", "q4_0"))


@dataclass(frozen=True, slots=True)
class Option:
    """One way to get the context that is wanted.

    ``price`` is the share of the speed that it costs against the plan without the wish (0.25: a
    quarter slower; negative: faster); ``None`` when a speed is unknown.
    """

    plan: FitPlan
    price: float | None

    @property
    def words(self) -> str:
        """``cache q8_0, 29 of 37 layers on the GPU``."""
        chosen, parts = self.plan, []
        if chosen.n_gpu_layers >= chosen.gpu_layers_max:
            parts.append(tr("everything on the GPU"))
        elif chosen.n_gpu_layers:
            parts.append(
                tr(
                    "{layers} of {all} layers on the GPU",
                    layers=chosen.n_gpu_layers,
                    all=chosen.gpu_layers_max,
                )
            )
        else:
            parts.append(tr("on the CPU"))
        if chosen.n_cpu_moe:
            parts.append(tr("experts of {layers} layers in system memory", layers=chosen.n_cpu_moe))
        k, v = chosen.cache_type_k, chosen.cache_type_v
        parts.append(tr("cache {k}", k=k) if k == v else tr("cache {k}/{v}", k=k, v=v))
        if chosen.parallel > 1:
            parts.append(tr("{slots} slots", slots=chosen.parallel))
        return joined(", ", parts)


def options(request: FitRequest, ctx_size: int) -> tuple[Option, ...]:
    """Every way that fits to have ``ctx_size`` tokens per slot, the fastest first.

    Searches the cache's types, how many layers (or whose experts) lie on the GPU, and the slots.
    Empty when nothing fits. Explicit settings other than the context are kept.
    """
    usual = plan(replace(request, ctx_size=None))
    shape = model_shape(request.model)
    if ctx_size < 1:
        raise FitError(
            tr("{ctx_size} tokens of context make no sense", ctx_size=ctx_size),
            hint=tr("Ask for 1 or more."),
        )
    found: dict[tuple[object, ...], Option] = {}
    for k, v in CACHES:
        if not (cache_type_works(shape, k) and cache_type_works(shape, v)):
            continue
        if request.flash_attention is False and v != "f16":
            continue  # a quantized V cache needs flash attention
        asked = replace(
            request,
            ctx_size=ctx_size,
            cache_type_k=request.cache_type_k or k,
            cache_type_v=request.cache_type_v or v,
        )
        for candidate in (plan(asked), plan(replace(asked, parallel=asked.parallel or 1))):
            if candidate.fits:
                # A cheaper cache is only worth having if it buys speed or slots.
                key = (candidate.n_gpu_layers, candidate.n_cpu_moe, candidate.parallel)
                found.setdefault(key, Option(candidate, _price(usual, candidate)))
    return tuple(sorted(found.values(), key=_slowness))


def _price(usual: FitPlan, candidate: FitPlan) -> float | None:
    before, after = usual.tokens_per_second, candidate.tokens_per_second
    return None if before is None or after is None else 1 - after / before


def _slowness(option: Option) -> tuple[float, int, int]:
    speed = option.plan.tokens_per_second
    return (-speed if speed else 0.0, -option.plan.n_gpu_layers, -option.plan.parallel)
