"""Reads and checks ``services/api-gateway/config.p1.yaml``: LiteLLM's own format.

The format: https://docs.litellm.ai/docs/proxy/configs. What is read here is what a route needs
(``model_list``, ``router_settings.model_group_alias``, ``fallbacks``, the settings that make
LiteLLM act on a request); the rest is LiteLLM's and left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import yaml

from local_ai_suite.errors import GatewayError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

ENVIRONMENT = "os.environ/"
# Providers that speak OpenAI's protocol as it is: to these, bytes can be passed on.
_PLAIN_PROVIDERS = frozenset({"openai", "hosted_vllm", "custom_openai", "text-completion-openai"})
# litellm_params that say where a request goes, or what LiteLLM itself should not do to it. Any
# other (temperature, tags, rpm, ...) asks LiteLLM to act.
_NEUTRAL_PARAMS = frozenset(
    {
        "model",
        "api_base",
        "api_key",
        "max_retries",
        "timeout",
        "stream_timeout",
        "use_chat_completions_api",
        "drop_params",
    }
)
_ACTING_SETTINGS = (
    "callbacks",
    "success_callback",
    "failure_callback",
    "input_callback",
    "service_callback",
    "cache",
    "max_budget",
    "guardrails",
    "default_fallbacks",
    "model_alias_map",
    "max_end_user_budget",
)
_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_DEFAULT_TIMEOUT_S = 600.0

Kind = Literal["local", "litellm"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where one public name goes.

    ``engine`` is the name that the upstream knows (``*`` in a wildcard: the client's own);
    ``api_bases`` are the local engine's addresses and ``api_key`` its key, both resolved; there are
    none when it is not on the local engine;
    ``mode`` is ``model_info.mode`` (chat, embedding, rerank, completion); ``reason`` says why it
    is local or LiteLLM's.
    """

    public: str
    kind: Kind
    engine: str
    api_bases: tuple[str, ...]
    api_key: str | None = field(repr=False)
    mode: str
    reason: str
    info: Mapping[str, Any] = field(default_factory=dict)
    alias_of: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The file, read. ``document`` is its whole content with environment references unresolved."""

    path: Path
    routes: Mapping[str, Route]
    wildcards: tuple[Route, ...]
    request_timeout_s: float
    litellm_keeps_keys: bool
    document: Mapping[str, Any] = field(repr=False)

    def every_route(self) -> list[Route]:
        """All routes, wildcards last."""
        return [*self.routes.values(), *self.wildcards]

    def find(self, name: str) -> Route | None:
        """The route of ``name``: exact first, then wildcards (``*``, ``openai/*``) in order."""
        if route := self.routes.get(name):
            return route
        for wildcard in self.wildcards:
            prefix, _, suffix = wildcard.public.partition("*")
            if name.startswith(prefix) and name.endswith(suffix):
                return wildcard
        return None


def load_config(path: Path, environ: Mapping[str, str], *, relay: bool = True) -> GatewayConfig:
    """Read and check ``path``. ``relay=False`` (GATEWAY_RELAY=off) makes every route LiteLLM's.

    ``environ`` resolves ``os.environ/NAME``; its INFERENCE_API_BASE is the local engine.
    Raises GatewayError that names file, line and key.
    """
    return _Reader(path, environ, relay=relay).read()


class _Reader:
    def __init__(self, path: Path, environ: Mapping[str, str], *, relay: bool) -> None:
        self._path = path
        self._environ = environ
        self._relay = relay
        self._lines: dict[tuple[str | int, ...], int] = {}

    def read(self) -> GatewayConfig:
        document = self._parse()
        models = self._models(document)
        acting = self._acts_on_everything(document)
        fallbacks = set(self._fallback_names(document))
        groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        for index, model in enumerate(models):
            groups.setdefault(model["model_name"], []).append((index, model))
        routes = {
            name: self._route(name, deployments, acting, fallbacks)
            for name, deployments in groups.items()
        }
        for alias, target in self._aliases(document, routes).items():
            routes[alias] = replace(
                routes[target],
                public=alias,
                alias_of=target,
                reason=tr(
                    "an alias of {target}: {reason}", target=target, reason=routes[target].reason
                ),
            )
        general = _section(document, "general_settings")
        return GatewayConfig(
            path=self._path,
            routes={name: route for name, route in routes.items() if "*" not in name},
            wildcards=tuple(route for name, route in routes.items() if "*" in name),
            request_timeout_s=self._timeout(document),
            litellm_keeps_keys=bool(general.get("database_url")),
            document=document,
        )

    def _parse(self) -> dict[str, Any]:
        try:
            text = self._path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            raise GatewayError(
                tr("{path} cannot be read: {exc}", path=self._path, exc=exc),
                hint=tr("Restore it: git checkout services/api-gateway/config.p1.yaml"),
            ) from exc
        try:
            loader = _Loader(text)
            try:
                node = loader.get_single_node()
                document = loader.construct_document(node) if node is not None else None
            finally:
                loader.dispose()
        except yaml.YAMLError as exc:
            mark = getattr(exc, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            problem = getattr(exc, "problem", None) or str(exc)
            raise self._error(
                (), tr("is not valid YAML: {problem}", problem=problem), line=line
            ) from exc
        if not isinstance(document, dict):
            raise self._error((), tr("must be a mapping with model_list"), line=1)
        if node is not None:
            self._note_lines(node, ())
        if "include" in document:
            raise self._error(("include",), tr("include is not supported; write it in one file"))
        for section in ("router_settings", "litellm_settings", "general_settings"):
            if not isinstance(document.get(section, {}), dict | None):
                raise self._error((section,), tr("must be a mapping"))
        return document

    def _models(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        models = document.get("model_list")
        if not isinstance(models, list) or not models:
            raise self._error(("model_list",), tr("must be a list with at least one model"))
        for index, model in enumerate(models):
            where = ("model_list", index)
            if not isinstance(model, dict):
                raise self._error(where, tr("must be a mapping with model_name and litellm_params"))
            name, params = model.get("model_name"), model.get("litellm_params")
            if not isinstance(name, str) or not name:
                raise self._error((*where, "model_name"), tr("must be a name"))
            if not isinstance(params, dict):
                raise self._error((*where, "litellm_params"), tr("must be a mapping"))
            if not isinstance(params.get("model"), str) or not params["model"]:
                raise self._error(
                    (*where, "litellm_params", "model"), tr("must be provider/name, as openai/x")
                )
            if not isinstance(model.get("model_info", {}), dict | None):
                raise self._error((*where, "model_info"), tr("must be a mapping"))
        return models

    def _route(
        self,
        name: str,
        deployments: list[tuple[int, dict[str, Any]]],
        acting: str | None,
        fallbacks: set[str],
    ) -> Route:
        index, model = deployments[0]
        params = model["litellm_params"]
        provider, _, engine = params["model"].partition("/")
        if not engine:
            provider, engine = "", provider
        info = model.get("model_info") or {}
        local = self._engine_base(params, index)
        reason = self._why_not_local(name, provider, local, len(deployments), acting, fallbacks)
        if reason is None:
            extra = sorted(set(params) - _NEUTRAL_PARAMS)
            reason = (
                tr("litellm_params.{extra} asks LiteLLM to act", extra=extra[0]) if extra else None
            )
        api_key = self._resolved(params, "api_key", index) if local is not None else None
        return Route(
            public=name,
            kind="local" if reason is None else "litellm",
            engine=engine,
            api_bases=() if local is None else (local,),
            api_key=api_key,
            mode=str(info.get("mode") or "chat"),
            reason=reason or tr("one deployment, on the local engine ({local})", local=local),
            info=info,
        )

    def _why_not_local(
        self,
        name: str,
        provider: str,
        local: str | None,
        deployments: int,
        acting: str | None,
        fallbacks: set[str],
    ) -> str | None:
        if not self._relay:
            return "GATEWAY_RELAY=off"
        if deployments > 1:
            return tr("{deployments} deployments: LiteLLM balances them", deployments=deployments)
        if local is None:
            return tr("its api_base is not the local engine")
        if provider not in _PLAIN_PROVIDERS:
            return tr(
                "the provider {provider} is LiteLLM's to translate", provider=provider or "none"
            )
        if acting:
            return acting
        if name in fallbacks or "*" in fallbacks:
            return tr("it has fallbacks")
        return None

    def _engine_base(self, params: dict[str, Any], index: int) -> str | None:
        """The deployment's api_base when that is the local engine."""
        engine = self._environ.get("INFERENCE_API_BASE", "").rstrip("/")
        base = params.get("api_base")
        if base is None:
            return None
        base = (self._resolved(params, "api_base", index) or "").rstrip("/")
        return base if base == engine else None

    def _resolved(self, params: dict[str, Any], key: str, index: int) -> str | None:
        value = params.get(key)
        where = ("model_list", index, "litellm_params", key)
        if value is not None and not isinstance(value, str):
            raise self._error(where, tr("must be text"))
        if value is None or not value.startswith(ENVIRONMENT):
            return value
        variable = value.removeprefix(ENVIRONMENT)
        if variable not in self._environ:
            raise self._error(
                where, tr("{variable} is not set in the environment or .env", variable=variable)
            )
        return self._environ[variable]

    def _acts_on_everything(self, document: dict[str, Any]) -> str | None:
        for section in ("litellm_settings", "router_settings"):
            for key in _ACTING_SETTINGS:
                if _section(document, section).get(key):
                    return tr(
                        "{section}.{key} asks LiteLLM to act on every request",
                        section=section,
                        key=key,
                    )
        if document.get("guardrails"):
            return tr("guardrails ask LiteLLM to act on every request")
        if _section(document, "general_settings").get("database_url"):
            return tr("general_settings.database_url: LiteLLM keeps the keys and budgets")
        return None

    def _fallback_names(self, document: dict[str, Any]) -> Iterator[str]:
        for section in ("litellm_settings", "router_settings"):
            for key in _FALLBACKS:
                for entry in _section(document, section).get(key) or ():
                    if not isinstance(entry, dict):
                        raise self._error((section, key), tr("must be a list of {name: [names]}"))
                    yield from map(str, entry)

    def _aliases(self, document: dict[str, Any], routes: dict[str, Route]) -> dict[str, str]:
        where = ("router_settings", "model_group_alias")
        aliases = _section(document, "router_settings").get("model_group_alias") or {}
        if not isinstance(aliases, dict):
            raise self._error(where, tr("must be a mapping of alias to model_name"))
        found = {}
        for alias, target in aliases.items():
            name = target.get("model") if isinstance(target, dict) else target
            if name not in routes:
                raise self._error(
                    (*where, alias), tr("{name!r} is no model_name of model_list", name=name)
                )
            found[str(alias)] = str(name)
        return found

    def _timeout(self, document: dict[str, Any]) -> float:
        value = _section(document, "litellm_settings").get("request_timeout", _DEFAULT_TIMEOUT_S)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self._error(
                ("litellm_settings", "request_timeout"), tr("must be seconds above 0")
            )
        return float(value)

    def _note_lines(self, node: yaml.Node, where: tuple[str | int, ...]) -> None:
        self._lines[where] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._note_lines(value, (*where, str(key.value)))
                self._lines[(*where, str(key.value))] = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._note_lines(value, (*where, index))

    def _error(
        self, where: tuple[str | int, ...], problem: str, *, line: int | None = None
    ) -> GatewayError:
        if line is None:
            found = [where[:end] for end in range(len(where), -1, -1) if where[:end] in self._lines]
            line = self._lines[found[0]] if found else 1
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
        return GatewayError(
            tr(
                "{path}, line {line}: {key}{problem}",
                path=self._path,
                line=line,
                key=key.lstrip(".") + " " if key else "",
                problem=problem,
            ),
            hint=tr("The format is LiteLLM's: https://docs.litellm.ai/docs/proxy/configs"),
            file=str(self._path),
            line=line,
            key=key.lstrip("."),
        )


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return document.get(name) or {}
