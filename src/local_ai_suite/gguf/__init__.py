"""Reading GGUF headers: bounds-checked, in milliseconds, without the tensor data."""

from .describe import Description, describe, description_text
from .features import TemplateFeatures
from .file import GgufFile, read_gguf
from .ggml_types import TYPES, TYPES_BY_NAME, GgmlType
from .header import Header, Tensor, read_header
from .metadata import Metadata, Skipped
from .split import SplitName, split_name

__all__ = [
    "TYPES",
    "TYPES_BY_NAME",
    "Description",
    "GgmlType",
    "GgufFile",
    "Header",
    "Metadata",
    "Skipped",
    "SplitName",
    "TemplateFeatures",
    "Tensor",
    "describe",
    "description_text",
    "read_gguf",
    "read_header",
    "split_name",
]
