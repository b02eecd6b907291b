"""An engine with a real template, to be asked what it renders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.templates import PROBES, Abilities, conclude

if TYPE_CHECKING:
    import httpx

ANSWER_SECONDS = 30.0


class TemplateEngine:
    """llama.cpp's server with one real template in a scripted model."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def render(self, body: dict[str, Any]) -> tuple[int, str]:
        """``/apply-template``: the status, and the prompt or the engine's reason."""
        answer = self.client.post("/apply-template", json=body)
        said = answer.json()
        if answer.status_code == 200:
            return 200, said["prompt"]
        return answer.status_code, said["error"]["message"]

    def abilities(self) -> Abilities:
        """What the probes show of this template."""
        prompts: dict[str, str | None] = {}
        for name, probe in PROBES.items():
            status, text = self.render(probe.body())
            prompts[name] = text if status == 200 else None
        found = conclude(prompts)
        assert found is not None
        return found
