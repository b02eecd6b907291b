"""The gateway on port 8000: local models relayed byte for byte, everything else by LiteLLM."""
