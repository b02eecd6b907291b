"""What fits, decided before anything is loaded: ``FitRequest`` -> ``FitPlan``. Pure."""

from .compare import (
    Lesson,
    PartComparison,
    Record,
    compare,
    correction,
    learn,
    learn_free,
    learn_short,
)
from .gpus import GpuModel, find_gpu
from .machine import free_for_engine, gpu_margin, imagined, memory_margin
from .plan import GIB, MIB, DevicePlan, FitPlan, FitRequest, Parts, Purpose
from .planner import plan
from .shape import ModelShape, model_shape
from .text import options_text, plan_text
from .wanted import Option, options

__all__ = [
    "GIB",
    "MIB",
    "DevicePlan",
    "FitPlan",
    "FitRequest",
    "GpuModel",
    "Lesson",
    "ModelShape",
    "Option",
    "PartComparison",
    "Parts",
    "Purpose",
    "Record",
    "compare",
    "correction",
    "find_gpu",
    "free_for_engine",
    "gpu_margin",
    "imagined",
    "learn",
    "learn_free",
    "learn_short",
    "memory_margin",
    "model_shape",
    "options",
    "options_text",
    "plan",
    "plan_text",
]
