"""/infill and /completion: llama.cpp's own completions."""

from __future__ import annotations

from typing import Any, ClassVar

from local_ai_suite.wire.routes import llama_server

from .endpoint import Endpoint
from .gather import AskWhole, nothing_held


class NativeForm:
    """A whole answer; ``response_fields`` may thin out its end."""

    hides_what_it_holds: ClassVar[bool] = False

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._ended: list[dict[str, Any]] = []

    def event(self, said: dict[str, Any]) -> None:
        if said.get("stop") is False:
            self._texts.setdefault(said["index"], []).append(said["content"])
        else:
            self._ended.append(said)

    def whole(self) -> Any:
        if not self._ended or len(self._ended) != len(self._texts):
            raise LookupError("an answer without an end")
        if len(self._ended) == 1:
            return self._one(self._ended[0], *self._texts)
        if any("index" not in ended for ended in self._ended):
            raise AskWhole("nothing tells the answers apart")
        found = {ended["index"]: self._one(ended, ended["index"]) for ended in self._ended}
        return [found[index] for index in sorted(found)]

    def _one(self, said: dict[str, Any], index: int) -> dict[str, Any]:
        # Where ``response_fields`` leaves the reason out, the last token alone tells.
        nothing_held(self._texts[index], cut=said.get("stop_type", "limit") == "limit")
        if "content" in said:
            said["content"] = "".join(self._texts[index])
        if "generation_settings" in said:
            said["generation_settings"]["stream"] = False
        if "generation_settings/stream" in said:
            said["generation_settings/stream"] = False
        return said


ENDPOINTS = (
    Endpoint(llama_server("/infill"), form=NativeForm),
    Endpoint(llama_server("/completion"), form=NativeForm),
)
