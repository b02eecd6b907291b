"""Which GGUF file is behind which name: the folder, ``.env`` and ``models.toml``."""
