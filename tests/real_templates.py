"""The chat templates of real models, as llama.cpp's sources hold them, each in a scripted GGUF.

The sources are those that ``uv.lock`` pins (xllamacpp's source distribution), downloaded once into
the project's cache and checked against the locked hash. Nothing of them is kept in the repository.
"""

from __future__ import annotations

import fcntl
import re
import tarfile
import tempfile
from functools import cache
from pathlib import Path

from local_ai_suite.demo import ChatForm, Say, Script, write_scripted_gguf
from local_ai_suite.engines.build import SOURCES, Pin, fetch, read_pin

ROOT = Path(__file__).parents[1]
_WANTED = ("models/templates/", "common/", "tools/server/")

# What stands between a template's marks; the families write them in these ways.
_MARKS = re.compile(
    r"<[|\uff5c][^<>{}'\" \n]*[|\uff5c]>|<\|[a-z_]+>|<[a-z_]+\|>|<(?:start|end)_of_[a-z]+>|</?s>"
    r"|\[/?(?:INST|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS|SYSTEM_PROMPT|ARGS|CALL_ID|THINK|TOOL_CONTENT)\]"
)
_BEGIN = (
    "<|begin_of_text|>", "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<bos>", "<BOS_TOKEN>",
    "<|startoftext|>", "<|begin\u2581of\u2581sentence|>", "<|hy_begin_of_sentence|>", "<s>",
)  # fmt: skip
_END = (
    "<|im_end|>", "<|ifm|im_end|>", "<|eot_id|>", "<|END_OF_TURN_TOKEN|>", "<end_of_turn>",
    "<turn|>", "<|return|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|assistant_end|>",
    "<|eot|>", "<|eom|>", "<|end_of_msg|>", "[e~[", "<|end|>", "<seed:eos>", "</s>",
)  # fmt: skip
# What a family begins with where its template does not say so.
_BEGIN_OF = {
    "gemma": "<bos>",
    "istral": "<s>",
    "deepseek": _BEGIN[1],
    "llama-3": "<|begin_of_text|>",
}

# Families whose answers never come without marks around them.
_SAID = {
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|START_RESPONSE|>{}<|END_RESPONSE|>",
    "llm-jp-llm-jp-4.1-8b-thinking": "<|channel|>final<|message|>{}",
    "meetkai-functionary-medium-v3.2": "all\n{}",
    "muse-glimmer": " to=user<|message|>{}",
    "openai-gpt-oss-120b": "<|channel|>final<|message|>{}",
}

ANSWER = "The scripted answer."


def pin() -> Pin:
    """The source distribution that this checkout pins."""
    return read_pin(ROOT / "uv.lock")


@cache
def sources() -> Path:
    """The folder with llama.cpp's templates, ``common`` and ``tools/server``."""
    found = pin()
    cache_folder = ROOT / ".cache" / "llama.cpp"
    cache_folder.mkdir(parents=True, exist_ok=True)
    target = cache_folder / f"{found.version}-{found.sha256[:12]}"
    with (cache_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            archive = fetch(found, cache_folder / f"{found.version}.tar.gz", lambda *_: None)
            with tempfile.TemporaryDirectory(dir=cache_folder) as part:
                unpacked = Path(part) / "sources"
                _unpack(archive, unpacked)
                unpacked.rename(target)
            archive.unlink()
    return target


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            inside = member.name.partition("/")[2].removeprefix(SOURCES + "/")
            if inside.startswith(_WANTED):
                member.name = inside
                tar.extract(member, target, filter="data")


def names() -> list[str]:
    """Every template's name, sorted."""
    return sorted(path.stem for path in (sources() / "models" / "templates").glob("*.jinja"))


def source(name: str) -> str:
    """The template's text."""
    path = sources() / "models" / "templates" / f"{name}.jinja"
    return path.read_text(encoding="utf-8")


def form(name: str) -> ChatForm:
    """The template with its family's begin, end and other marks."""
    text = source(name)
    marks = tuple(dict.fromkeys(match[0] for match in _MARKS.finditer(text)))
    begin = next((mark for mark in _BEGIN if mark in text), None)
    if begin is None and "bos_token" in text:
        begin = next((mark for part, mark in _BEGIN_OF.items() if part in name), "<s>")
    end = next((mark for mark in _END if mark in text), "</s>")
    return ChatForm(text, end=end, begin=begin, control=marks)


def write_gguf(name: str, path: Path, answer: str = ANSWER) -> Path:
    """A model with this template that answers everything with ``answer``."""
    said = _SAID.get(name, "{}").format(answer)
    # No family's name: llama.cpp looks for tokens of their own in models called "phi-3".
    return write_scripted_gguf(path, Script(completion=Say(said), form=form(name)))
