"""Frozen settings: defaults < ``.env`` < environment < flags.

Each field of :class:`Settings` is one key of ``.env`` (its name in capitals); its metadata holds
how it is read and what is allowed. An empty value means the default unless the field says
otherwise. Keys that the suite does not know are left alone (``.env`` also holds provider keys for
LiteLLM), but one that looks like a misspelt setting is reported in ``Settings.warnings``.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr

from . import dotenv
from .spec import (
    ADDRESS,
    CACHE_TYPES,
    CONTEXT,
    COUNT,
    DEVICES,
    FLAG,
    FOLDER,
    GGUF_FILE,
    HOSTS,
    KEY,
    LAYERS,
    ORIGINS,
    PORT,
    PROGRAM,
    SECONDS,
    URL,
    Reader,
    one_of,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.paths import Paths

_MISSPELT = 0.8  # difflib's ratio: CHAT_MODLE is CHAT_MODEL, OPENAI_API_KEY is nothing of ours


def _of(reader: Reader, default: Any, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"reader": reader, "secret": secret}, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, read and checked. ``None`` means "not set" or "auto": nobody decided."""

    # Addresses and keys
    api_gateway_port: int = _of(PORT, 8000)
    inference_port: int = _of(PORT, 8001)
    bind_address: str = _of(ADDRESS, "127.0.0.1")
    listen_address: str | None = _of(ADDRESS, None)
    require_key: bool = _of(FLAG, False)
    litellm_master_key: str | None = _of(KEY, None, secret=True)
    allowed_hosts: tuple[str, ...] = _of(HOSTS, ())
    allowed_origins: tuple[str, ...] = _of(ORIGINS, ())
    # Models
    models_dir: str = _of(FOLDER, "models")
    chat_model: str | None = _of(GGUF_FILE, None)
    code_model: str | None = _of(GGUF_FILE, None)
    embed_model: str | None = _of(GGUF_FILE, None)
    # How they are loaded; None is "auto": the plan decides
    n_gpu_layers: int | None = _of(LAYERS, None)
    ctx_size: int | None = _of(CONTEXT, None)
    parallel: int | None = _of(COUNT, None)
    cache_type_k: str = _of(one_of(*CACHE_TYPES), "auto")
    cache_type_v: str = _of(one_of(*CACHE_TYPES), "auto")
    threads: int | None = _of(COUNT, None)
    keep_alive: float = _of(SECONDS, 600.0)
    load_timeout: float = _of(SECONDS, 600.0)
    on_misfit: Literal["fail", "warn"] = _of(one_of("fail", "warn"), "fail")
    # The empty text is the CPU (the specification's rollback); None leaves it to the driver.
    cuda_visible_devices: str | None = _of(DEVICES, None)
    # How the stack runs
    runtime: Literal["auto", "docker", "native"] = _of(one_of("auto", "docker", "native"), "auto")
    llama_server: str | None = _of(PROGRAM, None)
    gateway_relay: Literal["on", "off"] = _of(one_of("on", "off"), "on")
    gateway_workers: int = _of(Reader(whole(1, 64), "1 to 64"), 1)
    store_responses: Literal["on", "off"] = _of(one_of("on", "off"), "on")
    max_request_mib: int = _of(Reader(whole(1, 4096), "1 to 4096"), 64)
    # The assistant
    ai_history: Literal["on", "off"] = _of(one_of("on", "off"), "on")
    # Downloads
    hf_endpoint: str = _of(URL, "https://huggingface.co")
    hf_token: str | None = _of(KEY, None, secret=True)
    # Where each value came from ("default", ".env line 3", "environment", "flag") and what to say
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    warnings: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the ports."""
        name = self.bind_address
        return name == "localhost" or ipaddress.ip_address(name).is_loopback

    @property
    def inference_api_base(self) -> str:
        """What ``os.environ/INFERENCE_API_BASE`` in the gateway's config stands for, natively."""
        return f"http://127.0.0.1:{self.inference_port}/v1"

    def models_path(self, paths: Paths) -> Path:
        """``MODELS_DIR``, absolute; a relative one is relative to the project."""
        return (paths.project / Path(self.models_dir).expanduser()).resolve()


KEYS: dict[str, str] = {
    item.name.upper(): item.name for item in fields(Settings) if "reader" in item.metadata
}
SECRET_KEYS = frozenset(
    item.name.upper() for item in fields(Settings) if item.metadata.get("secret")
)


def load_settings(
    paths: Paths,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Read ``.env`` (if there is one), the environment and ``flags``; check every value.

    Raises :class:`SettingsError` that names key, value, what is allowed and where it was set.
    """
    env = os.environ if environ is None else environ
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    warnings: list[str] = []
    for key, entry in _read_env_file(paths, env).items():
        if key in KEYS:
            values[key] = entry.value
            sources[key] = tr("{file} line {line}", file=paths.env_file.name, line=entry.line)
        elif near := difflib.get_close_matches(key, KEYS, n=1, cutoff=_MISSPELT):
            warnings.append(
                tr(
                    "{name} line {line}: {key} is not a setting; did you mean {near}?",
                    name=paths.env_file.name,
                    line=entry.line,
                    key=key,
                    near=near[0],
                )
            )
    for name, more in ((tr("environment"), env), (tr("flag"), flags or {})):
        for key in KEYS:
            if key in more:
                values[key], sources[key] = more[key], name
    read = {
        KEYS[key]: value
        for key, text in values.items()
        if (value := _read_value(key, text, sources[key])) is not _DEFAULT
    }
    return _check_together(Settings(**read, sources=sources, warnings=tuple(warnings)))


_DEFAULT = object()


def _read_env_file(paths: Paths, env: Mapping[str, str]) -> dict[str, dotenv.Entry]:
    try:
        text = paths.env_file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            tr("{env_file} cannot be read: {exc}", env_file=paths.env_file, exc=exc),
            hint=tr("Make it a readable UTF-8 text file; .env.example shows every setting."),
        ) from exc
    return dotenv.parse(text, env, name=paths.env_file.name)


def _read_value(key: str, text: str, source: str) -> Any:
    definition = next(item for item in fields(Settings) if item.name == KEYS[key])
    reader: Reader = definition.metadata["reader"]
    text = text.strip()
    if not text and not reader.empty_is_value:
        return _DEFAULT
    try:
        return reader.read(text)
    except (ValueError, KeyError, IndexError) as exc:
        shown = "(hidden)" if key in SECRET_KEYS else repr(text)
        raise SettingsError(
            tr(
                "{key} is {shown} (set in: {source}); allowed: {allowed}",
                key=key,
                shown=shown,
                source=source,
                allowed=reader.allowed,
            ),
            hint=tr("Change {key} there, or remove it for the default.", key=key),
            key=key,
            source=source,
        ) from exc


def _check_together(settings: Settings) -> Settings:
    if settings.api_gateway_port == settings.inference_port:
        raise SettingsError(
            tr(
                "API_GATEWAY_PORT and INFERENCE_PORT are both {inference_port}",
                inference_port=settings.inference_port,
            ),
            hint=tr("Give the gateway and the engine a port each (8000 and 8001 by default)."),
            key="API_GATEWAY_PORT",
        )
    if not settings.on_loopback and not settings.require_key:
        raise SettingsError(
            tr(
                "BIND_ADDRESS={bind_address} lets other machines in, but REQUIRE_KEY is off",
                bind_address=settings.bind_address,
            ),
            hint=tr("Set REQUIRE_KEY=true in .env, or leave BIND_ADDRESS at 127.0.0.1."),
            key="BIND_ADDRESS",
        )
    if settings.require_key and not settings.litellm_master_key:
        # The services would start with a key of their own, which nobody knows.
        raise SettingsError(
            tr("REQUIRE_KEY is on, but LITELLM_MASTER_KEY is empty: nobody could come in"),
            hint=tr(
                "Put a key into .env: LITELLM_MASTER_KEY=sk- and 32 random characters or more "
                "(`make setup` makes one where there is no .env)."
            ),
            key="LITELLM_MASTER_KEY",
        )
    return settings
