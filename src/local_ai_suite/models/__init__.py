"""The GGUF files of a person: what is there, what to get, how to get it whole."""
