"""The templates room: what a model's chat template can take, and conversations made to fit it.

``probes`` are a few small conversations that the engine renders once per template;
``abilities`` concludes from the prompts what the template does with them. ``translate`` rewrites a
conversation where (and only where) the template would refuse it or lose a part of it. ``schemas``
does the same for JSON Schemas and the engine's grammars; ``refusals`` puts the engine's words about
a request into words for its client. Nothing here does I/O: the engine room asks, the gateway
applies.
"""

from __future__ import annotations

from .abilities import EVERYTHING_REFUSED, Abilities, conclude
from .probes import PROBES, Probe
from .refusals import Refusal, refusal
from .schemas import Accepted, accepted, typed
from .translate import Translated, translate

__all__ = [
    "EVERYTHING_REFUSED",
    "PROBES",
    "Abilities",
    "Accepted",
    "Probe",
    "Refusal",
    "Translated",
    "accepted",
    "conclude",
    "refusal",
    "translate",
    "typed",
]
