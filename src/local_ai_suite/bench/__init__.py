"""How fast the running stack is on this machine, against the specification's criteria."""

from local_ai_suite.bench.report import Criterion, Measured, as_text, criteria
from local_ai_suite.bench.run import measure

__all__ = ["Criterion", "Measured", "as_text", "criteria", "measure"]
