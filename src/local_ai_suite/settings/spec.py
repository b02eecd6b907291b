"""How the text of a setting becomes a value, and the words for what is allowed."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from local_ai_suite.messages import tr
from local_ai_suite.paths import expanded

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_WHOLE_NUMBER = re.compile(r"[0-9]{1,12}")  # int() also takes 1_000, +1 and digits of any script
_SECONDS_FORM = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)([smh]?)")
_KEY_FORM = re.compile(r"[!-~]{8,}")  # goes into an HTTP header
_DEVICE_FORM = re.compile(r"-?[0-9]{1,4}|(?:GPU|MIG)-[0-9A-Za-z/-]+")
_WINDOWS_FORM = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # D:\models, \\server\share
_HOST_FORM = re.compile(r"(?:\*\.)?[A-Za-z0-9._-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]?")
_ORIGIN_FORM = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://(\*|(?:[A-Za-z0-9._~{}-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/?"
)
CACHE_TYPES = ("auto", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
_TRUE = {"true": True, "1": True, "yes": True, "on": True}
_FALSE = {"false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Reader:
    """How text becomes a value: ``read`` raises ``ValueError``; ``allowed`` says what fits."""

    read: Callable[[str], Any]
    allowed: str
    empty_is_value: bool = False


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return read


def _auto_or(read: Callable[[str], T]) -> Callable[[str], T | None]:
    return lambda text: None if text == "auto" else read(text)


def _flag(text: str) -> bool:
    return {**_TRUE, **_FALSE}[text.lower()]


def one_of(*words: str) -> Reader:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Reader(read, ", ".join(words))


def _seconds(text: str) -> float:
    form = _SECONDS_FORM.fullmatch(text)
    if not form:
        raise ValueError(text)
    value = float(form[1]) * {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}[form[2]]
    if value > 30 * 24 * 3600:
        raise ValueError(text)
    return value


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _hosts(text: str) -> tuple[str, ...]:
    for word in _words(text):
        if not _HOST_FORM.fullmatch(word):
            raise ValueError(word)
    return _words(text)


def _origins(text: str) -> tuple[str, ...]:
    """``scheme://host:port`` or, where no web page can have the scheme, ``scheme://*``."""
    for word in _words(text):
        form = _ORIGIN_FORM.fullmatch(word)
        if not form or (form[2] == "*" and form[1].lower() in {"http", "https"}):
            raise ValueError(word)
    return _words(text)


def _path(text: str) -> str:
    if not text.isprintable() or (os.name == "posix" and _WINDOWS_FORM.match(text)):
        raise ValueError(text)
    # ~name of a user who isn't here: whoever expands it later could only crash.
    if text.startswith("~") and expanded(text) == Path(text):
        raise ValueError(text)
    return text


def _address(text: str) -> str:
    return text if text == "localhost" else str(ipaddress.ip_address(text))


def _devices(text: str) -> str:
    """As the CUDA driver takes them: ``0``, ``0,1``, ``GPU-uuid``, ``MIG-...``; ``-1`` for none."""
    if any(not _DEVICE_FORM.fullmatch(word.strip()) for word in text.split(",") if text):
        raise ValueError(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError(text)
    return text.rstrip("/")


def _key(text: str) -> str:
    if not _KEY_FORM.fullmatch(text):
        raise ValueError
    return text


PORT = Reader(whole(1, 65535), tr("a port number from 1 to 65535"))
FLAG = Reader(_flag, tr("true or false"))
FOLDER = Reader(
    _path, tr("a folder, absolute or relative to the project (in WSL2 D:\\models is /mnt/d/models)")
)
GGUF_FILE = Reader(_path, tr("a .gguf file, in MODELS_DIR or with its whole path"))
PROGRAM = Reader(_path, tr("a program, by name or with its whole path"))
ADDRESS = Reader(_address, tr("an IP address of this machine, or localhost"))
HOSTS = Reader(_hosts, tr("host names without port, separated by commas"))
ORIGINS = Reader(
    _origins,
    tr(
        "origins such as https://chat.example or http://pc.local:3000, separated by "
        "commas; chrome-extension://ID, or chrome-extension://* for all of them"
    ),
)
URL = Reader(_url, tr("an http:// or https:// address without user name"))
KEY = Reader(_key, tr("8 or more characters of ASCII without spaces"))
DEVICES = Reader(
    _devices, tr("device numbers such as 0 or 0,1, or GPU-... names; empty for the CPU"), True
)
SECONDS = Reader(_seconds, tr("seconds, or a number with s, m or h such as 10m; 30 days at most"))
CONTEXT = Reader(_auto_or(whole(1, 16_777_216)), tr("auto, or a number of tokens"))
LAYERS = Reader(_auto_or(whole(0, 10_000)), tr("auto, or a number of layers (0: CPU only)"))
COUNT = Reader(_auto_or(whole(1, 4096)), tr("auto, or a whole number from 1"))
