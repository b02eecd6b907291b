"""The engine service on port 8001: which models there are, which are loaded, and what runs them."""
