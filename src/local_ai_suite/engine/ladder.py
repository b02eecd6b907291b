"""After a load for which a card had no room: the next one is smaller, down to the CPU.

What was short is remembered (``fit.learn_short``) and the planner asked again. With less room it
finds a smaller context, then the cache in Q8_0, fewer layers, the CPU, in its own order. The next
start of the service begins where this one ended.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .readback import Deviation

if TYPE_CHECKING:
    from .learning import Notes
    from .model import Model
    from .placement import Placement
    from .readback import CardFull

logger = logging.getLogger(__name__)

# Attempts on the card; each costs the seconds until the engine is refused. An eighth less each time
# reaches what Windows hides of a 6 GB card in one or two; after the last the CPU is taken.
MOST_ATTEMPTS = 4
_REMEMBERED = (
    "the card is not used: an earlier load found no room there (remembered in fit.json of the "
    "state folder; without that file the card is tried again)"
)


def step_down(model: Model, placement: Placement, error: CardFull, notes: Notes | None) -> bool:
    """Whether another load is worth trying after ``error``; then it is learnt what was short.

    Not when the same was refused before: what is set explicitly leaves no smaller plan.
    """
    if notes is None or _words(placement) in map(_words, model.refused):
        return False
    model.refused = (*model.refused, placement)
    last = len(model.refused) >= MOST_ATTEMPTS
    notes.short(placement.fit, error.attempted, last=last)
    model.placed_for = None  # planned anew
    logger.warning("%s: no room on the card for %s", model.name, _words(placement))
    return True


def stepped(model: Model, placement: Placement) -> tuple[Deviation, ...]:
    """What to say of a model that runs, but not as it was planned first, now or at an earlier
    start."""
    if not model.refused:
        return (Deviation(False, _REMEMBERED),) if placement.was_refused else ()
    first, now = _words(model.refused[0]), _words(placement)
    return (Deviation(False, f"the card had no room for {first}; it runs with {now}"),)


def _words(placement: Placement) -> str:
    fit = placement.fit
    where = f"{fit.n_gpu_layers} of {fit.gpu_layers_max} layers" if fit.uses_gpu else "the CPU"
    experts = f", experts of {fit.n_cpu_moe} layers in system memory" if fit.n_cpu_moe else ""
    slots = f"{fit.parallel} x {fit.ctx_size} tokens"
    return f"{where}{experts}, {slots}, cache {fit.cache_type_k}/{fit.cache_type_v}"
