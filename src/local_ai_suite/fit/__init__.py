"""What fits, decided before anything is loaded: ``FitRequest`` -> ``FitPlan``. Pure."""

from .plan import DevicePlan, FitPlan, FitRequest, Parts, Purpose
from .shape import ModelShape, model_shape

__all__ = [
    "DevicePlan",
    "FitPlan",
    "FitRequest",
    "ModelShape",
    "Parts",
    "Purpose",
    "model_shape",
]
