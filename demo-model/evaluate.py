"""Serves a GGUF through the real engine and measures it on the held-out phrasings.

    python evaluate.py [--model demo.gguf] [--verbose]
    python evaluate.py --write    # and put the table into the model card

Everything is greedy (temperature 0). Values in the slots come from a fixed seed. A case counts as
right only when the whole answer is: the fact is in it, the tool's name and every argument are
equal, the filled function passes its test, every JSON value is equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import held_out
from corpus import small_talk, structured, tool_calls, words

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MODEL = HERE.parent / "src" / "local_ai_suite" / "demo" / "demo.gguf"
CARD = MODEL.with_name("MODEL_CARD.md")
MARKS = ("<!-- evaluate.py --write -->\n", "<!-- end -->\n")
MOST_TOKENS = 160
ROUNDS = 3  # how often every template with slots is asked, each time with other values

_SERVE = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel = sys.argv[1], 4096, 1
p.hostnames, p.port, p.cpuparams.n_threads = ["127.0.0.1"], 0, 1
p.n_gpu_layers, p.fit_params, p.warmup, p.use_jinja = 0, False, False, True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

_TOOLS = {
    "list_files": ("List the files in a folder", ["path"]),
    "read_file": ("Read a file", ["path"]),
    "write_file": ("Write text into a file", ["path", "content"]),
    "search": ("Search for text in files", ["query"]),
    "run_command": ("Run a shell command", ["command"]),
    "get_weather": ("Get the weather of a city", ["city"]),
}
_INTENT_TOOL = {
    "list": "list_files", "here": "list_files", "read": "read_file", "write": "write_file",
    "search": "search", "run": "run_command", "weather": "get_weather",
}  # fmt: skip


@contextlib.contextmanager
def serve(model: Path) -> Iterator[httpx.Client]:
    argv = [sys.executable, "-c", _SERVE, str(model)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdin is not None
        address = engine.stdout.readline().strip()
        if not address:
            sys.exit(f"the engine does not serve {model}")
        try:
            with httpx.Client(base_url=address, timeout=120) as client:
                yield client
        finally:
            engine.stdin.close()
            engine.wait(20)


class Evaluation:
    def __init__(self, client: httpx.Client, verbose: bool) -> None:
        self.client, self.verbose = client, verbose
        self.right: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.rng = random.Random(2026)

    def note(self, kind: str, right: bool, asked: str, got: str) -> None:
        self.asked[kind] += 1
        self.right[kind] += right
        if self.verbose and not right:
            print(f"  {kind}: {asked!r} -> {got!r}")

    def chat(self, text: str | list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
        body = {"messages": messages, "temperature": 0, "max_tokens": MOST_TOKENS, **more}
        reply = self.client.post("/v1/chat/completions", json=body)
        if reply.status_code != 200:
            self.note("end reached", False, str(text), reply.text)
            return {"content": reply.text[:200]}
        choice = reply.json()["choices"][0]
        ended = choice["finish_reason"] in ("stop", "tool_calls")
        message: dict[str, Any] = choice["message"]
        self.note("end reached", ended, str(text), str(message.get("content")))
        return message

    def facts(self) -> None:
        for kind, cases in (
            ("facts, English", held_out.FACTS_EN),
            ("facts, Korean", held_out.FACTS_KO),
        ):
            for asked, wanted in cases:
                got = self.chat(asked).get("content") or ""
                self.note(kind, wanted.lower() in got.lower(), asked, got)
                if kind == "facts, Korean":
                    self.note("Korean in Korean", is_korean(got), asked, got)

    def korean(self) -> None:
        for asked in held_out.TALK_KO:
            got = self.chat(asked).get("content") or ""
            self.note("Korean in Korean", is_korean(got), asked, got)

    def refusals(self) -> None:
        for asked in held_out.REFUSALS:
            got = self.chat(asked).get("content") or ""
            known = (small_talk.REFUSAL_EN, small_talk.REFUSAL_KO)
            self.note("refuses to invent", got in known, asked, got)

    def slots(self) -> dict[str, str]:
        rng = self.rng
        return {
            "file": words.file(rng), "folder": words.folder(rng), "word": words.word(rng),
            "text": words.sentence(rng, 5), "command": words.command(rng), "city": words.city(rng),
            "ko_city": words.ko_city(rng), "name": words.name(rng), "item": rng.choice(words.ITEMS),
            "job": rng.choice(words.JOBS), "color": rng.choice(words.COLORS),
            "ko_name": rng.choice(words.KO_NAMES), "age": str(rng.randint(2, 99)),
            "price": str(rng.randint(2, 999)), "count": str(rng.randint(2, 20)),
        }  # fmt: skip

    def tools(self) -> None:
        for _ in range(ROUNDS):
            for intent, template in held_out.TOOL_REQUESTS:
                slots = self.slots()
                asked, name = template.format(**slots), _INTENT_TOOL[intent]
                wanted = {
                    "list": {"path": slots["folder"]}, "here": {"path": "."},
                    "read": {"path": slots["file"]}, "search": {"query": slots["word"]},
                    "write": {"path": slots["file"], "content": slots["text"]},
                    "run": {"command": slots["command"]},
                    "weather": {"city": slots["ko_city" if "{ko_city}" in template else "city"]},
                }[intent]  # fmt: skip
                # A shell could do what most tools do; it stands beside those it can't stand in for.
                others = [n for n in _TOOLS if n not in (name, "run_command")]
                chosen = [name, *self.rng.sample(others, self.rng.randint(0, 4))]
                self.rng.shuffle(chosen)
                message = self.chat(asked, tools=[tool(n) for n in chosen])
                calls = [call["function"] for call in message.get("tool_calls") or []]
                got = [(c["name"], _parsed(c["arguments"])) for c in calls]
                right = got == [(name, wanted)]
                self.note("tool call exact", right, asked, str(got or message.get("content")))
        for asked, names in held_out.NO_CALL:
            message = self.chat(asked, tools=[tool(n) for n in names.split()])
            calls = message.get("tool_calls") or []
            self.note("no call when none fits", not calls, asked, str(calls))

    def tool_answers(self) -> None:
        """The turn after the tool's answer: the values in it are told, and no call is made."""
        for _ in range(ROUNDS):
            slots = self.slots()
            files = [words.file(self.rng, 0) for _ in range(3)]
            degrees = str(self.rng.randint(1, 35))
            weather = {"city": slots["city"], "condition": "sunny", "temperature": int(degrees)}
            cases = (
                ("Which files do we have in the current folder?", "list_files", {"path": "."}, "\n".join(files), files),
                (f"Is it warm in {slots['city']} today?", "get_weather", {"city": slots["city"]}, json.dumps(weather), ["sunny", degrees]),
                (f"Let me read {slots['file']}", "read_file", {"path": slots["file"]}, slots["text"], [slots["text"]]),
                (f"Please create {slots['file']} with the text 'x y'", "write_file", {"path": slots["file"], "content": "x y"}, "ok", [slots["file"]]),
                ("I need you to run `pwd`", "run_command", {"command": "pwd"}, slots["word"], [slots["word"]]),
            )  # fmt: skip
            for asked, name, arguments, answered, wanted in cases:
                call = {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                messages = [
                    {"role": "user", "content": asked},
                    {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "call_1", "content": answered},
                ]
                message = self.chat(messages, tools=[tool(name)])
                got = message.get("content") or ""
                right = not message.get("tool_calls") and all(value in got for value in wanted)
                self.note("turn after the tool", right, f"{asked} / {answered}", got)

    def json_answers(self) -> None:
        for _ in range(ROUNDS):
            for template, keys in held_out.JSON:
                slots = self.slots()
                asked = template.format(**slots)
                number = {"age", "price", "count"}
                wanted = {
                    key: int(slots[key]) if key in number
                    else slots["ko_name"] if key == "name" and "{ko_name}" in template
                    else slots[key]
                    for key in keys.split()
                }  # fmt: skip
                message = self.chat(asked, response_format={"type": "json_object"})
                got = _parsed(message.get("content") or "")
                self.note("JSON values", got == wanted, asked, str(message.get("content")))

    def fill_in(self) -> None:
        for prefix, suffix, test in held_out.FIM:
            body = {
                "input_prefix": prefix,
                "input_suffix": suffix,
                "n_predict": 96,
                "temperature": 0,
            }
            reply = self.client.post("/infill", json=body).json()
            got = reply.get("content", "")
            self.note("end reached", reply.get("stop_type") == "eos", prefix, got)
            self.note("FIM parses and passes", passes(prefix + got + suffix, test), prefix, got)

    def sums(self) -> None:
        for template in held_out.SUMS:
            for _ in range(6):
                while True:
                    a, b = self.rng.randint(0, 99), self.rng.randint(0, 99)
                    if a >= b and structured.held_out_sum(a, b):
                        break
                m, n = self.rng.randint(0, 12), self.rng.randint(0, 12)
                asked = template.format(a=a, b=b, m=m, n=n)
                result = m * n if "{m}" in template else a - b if "-" in template else a + b
                got = self.chat(asked).get("content") or ""
                numbers = re.findall(r"-?\d+", got)
                self.note(
                    "sums (new pairs)", bool(numbers) and int(numbers[-1]) == result, asked, got
                )

    def run(self) -> None:
        for part in (
            self.facts,
            self.korean,
            self.refusals,
            self.tools,
            self.tool_answers,
            self.json_answers,
            self.fill_in,
            self.sums,
        ):
            part()


def tool(name: str) -> dict[str, Any]:
    description, required = _TOOLS[name]
    return tool_calls.Tool(name, description, required).schema()


def is_korean(text: str) -> bool:
    """Most letters are Hangul, once code in backticks and names with Latin letters are left out."""
    prose = re.sub(r"`[^`]*`|[A-Za-z][\w.:/+-]*", "", text)
    return len(re.findall(r"[가-힣]", prose)) >= 3


def passes(source: str, test: str) -> bool:
    """In a process of its own, which may not take long: the model wrote the code."""
    code = f"{source}\nassert {test}\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, timeout=10, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--verbose", action="store_true", help="print what went wrong")
    parser.add_argument("--write", action="store_true", help="put the table into the model card")
    options = parser.parse_args()
    with serve(options.model) as client:
        evaluation = Evaluation(client, options.verbose)
        evaluation.run()
    table = "| what | right | of | share |\n|---|---:|---:|---:|\n"
    for kind, count in sorted(evaluation.asked.items()):
        right = evaluation.right[kind]
        table += f"| {kind} | {right} | {count} | {100 * right / count:.0f} % |\n"
    print(table, end="")
    if options.write:
        before, _, rest = CARD.read_text(encoding="utf-8").partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        CARD.write_text(f"{before}{MARKS[0]}{table}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
