"""What goes into the log holds no secrets, and is still readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.approvals.redact import HIDDEN, redact, redact_value

SECRETS = {
    "GitHub": "ghp_" + "a1B2" * 9,
    "GitHub, fine-grained": "github_pat_" + "a1B2_" * 8,
    "OpenAI": "sk-" + "proj-a1B2c3D4e5F6g7H8",
    "Anthropic": "sk-ant-api03-" + "a1B2c3D4e5F6g7H8",
    "Hugging Face": "hf_" + "a1B2c3D4e5F6g7H8i9",
    "AWS": "AKIA" + "ABCDEFGH12345678",
    "Google": "AIza" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R",
    "Slack": "xoxb-" + "123456789012-abcdefABCDEF",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("around", ["{}", "use {} now", "url?x={}&y=1", "({})", '"{}"', "키:{}."])
def test_a_token_is_found_wherever_it_stands(secret: str, around: str) -> None:
    shown = redact(around.format(secret))
    assert secret not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("password=hunter22", "hunter22"),
        ("LITELLM_MASTER_KEY: abcd1234", "abcd1234"),
        ('{"api_key": "abcd1234"}', "abcd1234"),
        ("db_password = 'a b c d'", "a b c d"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("postgres://user:pa55word@host/db", "pa55word"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and no end", "MIIE"),
    ],
)
def test_a_secret_is_found_by_its_name_or_its_place(text: str, gone: str) -> None:
    assert gone not in redact(text)


@pytest.mark.parametrize(
    "text",
    ["Post a comment on me/suite#1", "tokens: 12", "the password is asked for", "skip-this-one"],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text(max_size=200))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_it_reaches_into_lists_and_objects() -> None:
    secret = SECRETS["GitHub"]
    assert redact_value({"a": [secret, {"b": secret}], "n": 3}) == {
        "a": [HIDDEN, {"b": HIDDEN}],
        "n": 3,
    }
