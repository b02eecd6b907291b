"""What a model's chat template takes: asked of its engine once, and kept in the state folder.

``STATE/templates/HASH.json`` holds the abilities of one template under one engine version; models
with the same template share it, and a model that is not loaded is known by it, too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from local_ai_suite.templates import PROBES, Abilities, conclude
from local_ai_suite.wire.upstream import UpstreamError

from .learning import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from local_ai_suite.catalog.catalog import ModelEntry

    # Method, target, body -> status and JSON.
    Asker = Callable[[str, str, bytes], Awaitable[tuple[int, Any]]]

logger = logging.getLogger(__name__)

# About 40 renders of a few milliseconds each, on an engine that has nothing else to do yet. What
# takes longer is a machine in trouble, and the model is served without.
PROBE_SECONDS = 20.0
# A template is tried again after the service was killed in the middle, or the machine was slow.
MOST_TRIES = 2


class TemplateMemory:
    """The abilities of all templates that were probed, by template and engine version."""

    def __init__(self, folder: Path, engine_version: str) -> None:
        self._folder = folder
        probes = json.dumps({name: probe.body() for name, probe in PROBES.items()}, sort_keys=True)
        self._salt = f"{engine_version}\0{probes}\0"
        self._known: dict[str, Abilities] = {}

    def get(self, entry: ModelEntry) -> Abilities | None:
        """What is known of ``entry``'s template without asking."""
        if entry.embeds or (template := entry.file.chat_template) is None:
            return None
        key = self._key(template)
        if key not in self._known:
            found = Abilities.from_dict(read_json(self._path(key)).get("abilities"))
            if found is None:
                return None
            self._known[key] = found
        return self._known[key]

    async def learn(self, entry: ModelEntry, ask: Asker) -> Abilities | None:
        """The abilities of ``entry``'s template; the engine is asked through ``ask`` if they are
        not known. ``None``: it has no template of its own, or the engine did not answer."""
        known = self.get(entry)
        if known is not None or entry.embeds or (template := entry.file.chat_template) is None:
            return known
        key = self._key(template)
        tries = read_json(self._path(key)).get("tries", 0)
        if not isinstance(tries, int) or tries >= MOST_TRIES:
            return None
        # Written before: an engine that dies of a probe must not die of it at every start.
        await self._keep(key, entry, None, tries + 1)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                found = conclude(await _prompts(ask))
        except (TimeoutError, UpstreamError) as exc:
            logger.warning("%s: its chat template could not be probed: %s", entry.name, exc)
            return None
        if found is None:
            logger.warning("%s: its chat template renders not even one message", entry.name)
            return None
        self._known[key] = found
        await self._keep(key, entry, found, tries + 1)
        return found

    async def _keep(
        self, key: str, entry: ModelEntry, abilities: Abilities | None, tries: int
    ) -> None:
        kept = abilities.as_dict() if abilities is not None else None
        data = {"model": entry.name, "tries": tries, "abilities": kept}
        await asyncio.to_thread(write_json, self._path(key), data)

    def _key(self, template: str) -> str:
        text = (self._salt + template).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:32]

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"


async def _prompts(ask: Asker) -> dict[str, str | None]:
    by_body: dict[bytes, str | None] = {}
    prompts: dict[str, str | None] = {}
    for name, probe in PROBES.items():
        body = json.dumps(probe.body()).encode()
        if body not in by_body:
            status, answer = await ask("POST", "/apply-template", body)
            prompt = answer.get("prompt") if isinstance(answer, dict) else None
            by_body[body] = prompt if status == 200 and isinstance(prompt, str) else None
        prompts[name] = by_body[body]
    return prompts
