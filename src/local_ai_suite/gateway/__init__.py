"""The gateway: HTTP on port 8000."""
