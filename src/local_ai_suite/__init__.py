"""Local AI Suite: a folder of GGUF files becomes a private, OpenAI-compatible AI server."""

__version__ = "0.1.0"
