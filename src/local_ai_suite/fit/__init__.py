"""What fits, decided before anything is loaded: ``FitRequest`` -> ``FitPlan``. Pure."""

from .gpus import GpuModel, find_gpu
from .machine import imagined
from .plan import DevicePlan, FitPlan, FitRequest, Parts, Purpose
from .planner import plan
from .shape import ModelShape, model_shape

__all__ = [
    "DevicePlan",
    "FitPlan",
    "FitRequest",
    "GpuModel",
    "ModelShape",
    "Parts",
    "Purpose",
    "find_gpu",
    "imagined",
    "model_shape",
    "plan",
]
