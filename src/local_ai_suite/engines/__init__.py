"""Which llama-server runs here: finding one, and building one."""
