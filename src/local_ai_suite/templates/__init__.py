"""The templates room: what a model's chat template can take, and conversations made to fit it.

``probes`` are a few small conversations that the engine renders once per template;
``abilities`` concludes from the prompts what the template does with them. ``translate`` rewrites a
conversation where (and only where) the template would refuse it or lose a part of it. Nothing here
does I/O: the engine room asks, the gateway applies.
"""

from __future__ import annotations

from .abilities import Abilities, conclude
from .probes import PROBES, Probe
from .translate import Translated, translate

__all__ = ["PROBES", "Abilities", "Probe", "Translated", "conclude", "translate"]
