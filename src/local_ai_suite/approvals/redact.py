"""Take secrets out of text that goes into the audit log or an error message.

What a person is asked to approve is never redacted (an honest display shows it all).
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[secret]"

_TOKENS = re.compile(
    r"""
    gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,}      # GitHub
    | glpat-[A-Za-z0-9_-]{16,}                                     # GitLab
    | (?:sk|pk|rk)-[A-Za-z0-9_-]{16,}                              # OpenAI, Anthropic, LiteLLM
    | hf_[A-Za-z0-9]{16,}                                          # Hugging Face
    | (?:AKIA|ASIA)[A-Z0-9]{16}                                    # AWS
    | AIza[A-Za-z0-9_-]{30,}                                       # Google
    | xox[abprs]-[A-Za-z0-9-]{10,}                                 # Slack
    | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}   # a JSON web token
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(
    r"""(?ix) \b
    ([\w.-]*(?:password|passwd|secret|token|api[_-]?key|master[_-]?key|credential)[\w.-]*)
    (["']?\s*[:=]\s*) ("[^"\n]{4,}"|'[^'\n]{4,}'|[^\s"',;]{4,})"""
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_ADDRESS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]+@")


def redact(text: str) -> str:
    """``text`` without tokens, keys, passwords after their names, and passwords in addresses."""
    text = _TOKENS.sub(HIDDEN, text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _ADDRESS.sub(rf"\1{HIDDEN}@", text)
    return _NAMED.sub(rf"\1\2{HIDDEN}", text)


def redact_value(value: Any) -> Any:
    """The same for all text inside a JSON value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    if isinstance(value, dict):
        return {key: redact_value(item) for key, item in value.items()}
    return value
