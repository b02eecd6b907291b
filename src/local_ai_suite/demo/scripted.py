"""A GGUF model whose weights are a script: it says what a test wrote down, through the real engine.

How it works. The file is an ordinary Llama-architecture model with one layer whose attention and
feed-forward weights are zero, so the residual stream holds nothing but the embedding of the last
token: a bigram model. Every scripted text is cut into pieces, and each piece becomes a token of
its own. With one random sign vector `code[t]` per scripted token,

    embedding[t] = code[successor of t]        output[t] = code[t]

so the logit of the right next token is `EMBEDDING_LENGTH`, and that of every other one is far
below: the answer is the same at every temperature and seed.

Which text is said, the chat template decides: llama.cpp runs it on the request, and it ends the
prompt with one control token, the first of that text's chain. It looks for trigger words in the
last user message, counts the assistant turns since (so a tool's answer leads on to the next step
and never loops), and calls only tools that the request offers.

Real prompts of coding clients run to 20,000 tokens; byte-level merges learnt from tool
definitions keep them that small, and one 32-wide head with one key-value head keeps them quick.
"""

from __future__ import annotations

import json
import random
from array import array
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ModelError

from .gguf_writer import U32, I32Array, Tensor, TensorType, TokenType, Value, gguf_bytes
from .template import scripted_template

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONTEXT_LENGTH = 65_536
EMBEDDING_LENGTH = 64
HEAD_LENGTH = 32
"""A whole Q8_0 block, so that a quantized KV cache can be asked for as well."""

_CODE_DISTANCE = 14
"""The least number of differing signs (of 64) between two codes: any wrong token's logit stays
at least 28 below the right one's."""

_END, _STOP, _START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"
_FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_FIM_KEYS = ("fim_pre", "fim_suf", "fim_mid")


@dataclass(frozen=True)
class Say:
    """A fixed text. With `forever` it is repeated until the client stops or the context is full."""

    text: str
    forever: bool = False


@dataclass(frozen=True)
class Call:
    """A tool call in the Hermes/Qwen form; made only when the request offers a tool so named.

    The arguments must fit that tool's schema: the engine's grammar lets no others through.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """As the model writes it."""
        body = {"name": self.name, "arguments": dict(self.arguments)}
        return f"<tool_call>\n{json.dumps(body, ensure_ascii=False)}\n</tool_call>"


@dataclass(frozen=True)
class Calls:
    """Several tool calls in one turn, after an optional text."""

    calls: tuple[Call, ...]
    text_before: str = ""

    @property
    def text(self) -> str:
        """As the model writes it."""
        return "\n".join([self.text_before] * bool(self.text_before) + [c.text for c in self.calls])


Step = Say | Call | Calls


@dataclass(frozen=True)
class Rule:
    """When the last user message holds `trigger`, the assistant turns after it are `steps`.

    The last step is repeated when there are more turns than steps.
    """

    trigger: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class ChatForm:
    """Another model family's chat template, with the special tokens that its text names.

    A prompt made by it ends in no entry of the script, so that the answer is always the script's
    `completion`; `end` is the token that ends it. llama.cpp recognizes a family by the template's
    text (`common/chat.cpp`), and its parser reads control tokens only where the vocabulary has
    them.
    """

    template: str
    end: str
    begin: str | None = None
    control: tuple[str, ...] = ()


@dataclass(frozen=True)
class Script:
    """Everything that a scripted model can say. The first rule that fits wins."""

    rules: tuple[Rule, ...] = ()
    default: Say = Say("Hello from the scripted model.")
    completion: Say = Say(" and so the text goes on.")
    """Follows any prompt of `/v1/completions`."""
    infill: Say = Say("return a + b")
    """Follows `<|fim_middle|>`, as in `/infill`."""
    context_length: int = CONTEXT_LENGTH
    name: str = "scripted"
    is_base: bool = False
    """Without a chat template: whatever is asked, `completion` follows."""
    form: ChatForm | None = None
    """Another family's template instead of the script's own; the rules are then not used."""


DEFAULT = Script(
    rules=(
        Rule("안녕", (Say("안녕하세요! 무엇을 도와드릴까요?"),)),
        Rule(
            "weather",
            (Call("get_weather", {"city": "Seoul"}), Say("It is sunny in Seoul, 21 degrees.")),
        ),
        Rule(
            "list the files",
            (Call("list_files", {"path": "."}), Say("I have listed the files for you.")),
        ),
        Rule("as JSON", (Say('{"answer": 42}'),)),
        Rule("forever", (Say("tick tock, the clock goes on, ", forever=True),)),
    )
)
"""Enough for most tests: default text, Korean, two tools, JSON, and a stream that never ends."""


def write_scripted_gguf(path: Path, script: Script = DEFAULT) -> Path:
    """Write the model to `path` (its folder is made) and return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build_scripted_gguf(script))
    return path


def build_scripted_gguf(script: Script = DEFAULT) -> bytes:
    """The model as a GGUF file; equal scripts give equal bytes.

    Raises ModelError for a text of fewer than two bytes (a byte's token is the prompt's own).
    """
    vocabulary = _Vocabulary(script)
    codes = _codes(len(vocabulary.tokens) - vocabulary.first_scripted)
    return gguf_bytes(_metadata(script, vocabulary), _tensors(vocabulary, codes))


class _Vocabulary:
    """Tokens in order: 256 bytes, merges, specials, then entries and pieces of the script."""

    def __init__(self, script: Script) -> None:
        says = _says(script)
        texts = {say.text for say in says}
        for text in texts:
            if len(text.encode()) < 2:
                raise ModelError(f"a scripted text needs at least two bytes, not {text!r}")
        self.merges = _merges_without({_mapped(text) for text in texts})
        self.tokens = [_byte_map()[b] for b in range(256)]
        self.tokens += [left + right for left, right in self.merges]
        self.types = [TokenType.NORMAL] * len(self.tokens)
        self.special: dict[str, int] = {}
        form = script.form
        self.end = form.end if form else _END
        begin = (form.begin,) if form and form.begin else ()
        for special in dict.fromkeys(
            (_START, _STOP, *_FIM, *begin, *(form.control if form else ()))
        ):
            if special != self.end:
                self.special[special] = self._add(special, TokenType.CONTROL)
        self.first_scripted = len(self.tokens)
        """From here on tokens have codes; all before share the code of the completion's start."""
        self.special[self.end] = self._add(self.end, TokenType.CONTROL)
        # With another family's template a prompt may end with the end of an earlier turn, and the
        # answer begins there.
        end = self.special[self.end]
        self.successor: dict[int, int] = {} if form else {end: end}
        self.entry: dict[Say, str] = {}
        self._taken = set(self.tokens)
        chains: dict[Say, int] = {}
        # Shortest first: then a text as a whole is never the piece of an earlier one.
        for say in sorted(says, key=lambda s: (len(s.text), s.text, s.forever)):
            twin = Say(say.text, not say.forever)
            if twin in chains:
                raise ModelError(f"the same text cannot both end and go on forever: {say.text!r}")
            chains[say] = self._add_chain(say)
        for number, say in enumerate(says):
            self.entry[say] = f"<|say_{number}|>"
            entry = self._add(self.entry[say], TokenType.CONTROL)
            self.successor[entry] = chains[say]
        self.after_text = chains[script.completion]
        self.after_fim = chains[script.infill]

    def _add(self, token: str, kind: TokenType) -> int:
        self.tokens.append(token)
        self.types.append(kind)
        return len(self.tokens) - 1

    def _add_chain(self, say: Say) -> int:
        """Add the pieces of one text and return the id of the first."""
        pieces = _pieces(say.text, self._taken)
        self._taken.update(_mapped(piece) for piece in pieces)
        ids = [self._add(_mapped(piece), TokenType.NORMAL) for piece in pieces]
        last = ids[0] if say.forever else self.special[self.end]
        self.successor.update(zip(ids, [*ids[1:], last], strict=True))
        return ids[0]


def _pieces(text: str, taken: set[str]) -> list[str]:
    """Cut `text` into pieces of about a word that are unlike each other and all that is taken."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = min(start + 3, len(text))
        seen = taken | {_mapped(piece) for piece in pieces}
        while end < len(text) and (_mapped(text[start:end]) in seen or text[end].isalnum()):
            end += 1
        piece = text[start:end]
        # What is left at the end may be no new piece: it joins the one before it.
        while pieces and _mapped(piece) in taken | {_mapped(p) for p in pieces}:
            piece = pieces.pop() + piece
        pieces.append(piece)
        start = end
    return pieces


def _says(script: Script) -> list[Say]:
    """Every distinct text of the script, in the script's order."""
    steps = [step for rule in script.rules for step in rule.steps]
    ordered = [script.default, script.completion, script.infill, *(_as_say(s) for s in steps)]
    return list(dict.fromkeys(ordered))


def _as_say(step: Step) -> Say:
    return step if isinstance(step, Say) else Say(step.text)


def _tools_of(step: Step) -> list[str]:
    match step:
        case Say():
            return []
        case Call():
            return [step.name]
        case Calls():
            return [call.name for call in step.calls]


def _metadata(script: Script, vocabulary: _Vocabulary) -> dict[str, Value]:
    rules = [
        (rule.trigger, [(vocabulary.entry[_as_say(s)], _tools_of(s)) for s in rule.steps])
        for rule in script.rules
    ]
    special = vocabulary.special
    metadata: dict[str, Value] = {
        "general.architecture": "llama",
        "general.name": script.name,
        "general.license": "apache-2.0",
        "general.file_type": U32(0),
        "llama.context_length": U32(script.context_length),
        "llama.embedding_length": U32(EMBEDDING_LENGTH),
        "llama.block_count": U32(1),
        "llama.feed_forward_length": U32(HEAD_LENGTH),
        "llama.attention.head_count": U32(1),
        "llama.attention.head_count_kv": U32(1),
        "llama.attention.key_length": U32(HEAD_LENGTH),
        "llama.attention.value_length": U32(HEAD_LENGTH),
        "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "llama.rope.dimension_count": U32(HEAD_LENGTH),
        "llama.rope.freq_base": 10_000.0,
        "llama.vocab_size": U32(len(vocabulary.tokens)),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": vocabulary.tokens,
        "tokenizer.ggml.token_type": I32Array(vocabulary.types),
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in vocabulary.merges],
        "tokenizer.ggml.eos_token_id": U32(special[vocabulary.end]),
        "tokenizer.ggml.padding_token_id": U32(special[_STOP]),
        "tokenizer.ggml.add_bos_token": False,
    }
    for key, token in zip(_FIM_KEYS, _FIM, strict=True):
        metadata[f"tokenizer.ggml.{key}_token_id"] = U32(special[token])
    form = script.form
    if form is not None:
        if form.begin is not None:
            metadata["tokenizer.ggml.bos_token_id"] = U32(special[form.begin])
        metadata["tokenizer.chat_template"] = form.template
    elif not script.is_base:
        said_first = vocabulary.entry[script.default]
        metadata["tokenizer.chat_template"] = scripted_template(rules, said_first)
    return metadata


def _tensors(vocabulary: _Vocabulary, codes: Sequence[int]) -> list[Tensor]:
    size, first = len(vocabulary.tokens), vocabulary.first_scripted
    signs = [_signs(code) for code in codes]
    embedding, output = array("f"), array("f")
    after_fim = vocabulary.special[_FIM[2]]
    for token in range(size):
        default = vocabulary.after_fim if token == after_fim else vocabulary.after_text
        embedding.extend(signs[vocabulary.successor.get(token, default) - first])
        output.extend(signs[token - first] if token >= first else _signs(None))

    def constant(name: str, *shape: int, value: float = 0.0) -> Tensor:
        count = 1
        for length in shape:
            count *= length
        return Tensor(name, shape, TensorType.F32, _little(array("f", [value]) * count))

    wide, narrow = EMBEDDING_LENGTH, HEAD_LENGTH
    return [
        Tensor("token_embd.weight", (wide, size), TensorType.F32, _little(embedding)),
        constant("output_norm.weight", wide, value=1.0),
        Tensor("output.weight", (wide, size), TensorType.F32, _little(output)),
        constant("blk.0.attn_norm.weight", wide, value=1.0),
        constant("blk.0.attn_q.weight", wide, narrow),
        constant("blk.0.attn_k.weight", wide, narrow),
        constant("blk.0.attn_v.weight", wide, narrow),
        constant("blk.0.attn_output.weight", narrow, wide),
        constant("blk.0.ffn_norm.weight", wide, value=1.0),
        constant("blk.0.ffn_gate.weight", wide, narrow),
        constant("blk.0.ffn_up.weight", wide, narrow),
        constant("blk.0.ffn_down.weight", narrow, wide),
    ]


def _codes(count: int) -> list[int]:
    """`count` 64-bit words, any two at least `_CODE_DISTANCE` bits apart; always the same ones."""
    rng = random.Random("scripted")  # noqa: S311 - reproducible, not secret
    codes: list[int] = []
    while len(codes) < count:
        code = rng.getrandbits(EMBEDDING_LENGTH)
        if all((code ^ other).bit_count() >= _CODE_DISTANCE for other in codes):
            codes.append(code)
    return codes


def _signs(code: int | None) -> list[float]:
    if code is None:
        return [0.0] * EMBEDDING_LENGTH
    return [1.0 if code >> bit & 1 else -1.0 for bit in range(EMBEDDING_LENGTH)]


def _little(values: array[float]) -> bytes:
    """As little-endian bytes on every machine."""
    raw = values.tobytes()
    if array("H", [1]).tobytes() == b"\x01\x00":
        return raw
    swapped = array("f", raw)
    swapped.byteswap()
    return swapped.tobytes()


@cache
def _byte_map() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte: itself where printable, else from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {byte: chr(byte) for byte in printable}
    stand_ins.update({byte: chr(256 + n) for n, byte in enumerate(others)})
    return stand_ins


def _mapped(text: str) -> str:
    return "".join(_byte_map()[byte] for byte in text.encode())


def _merges_without(texts: set[str]) -> list[tuple[str, str]]:
    """The merges of `merges.txt`, less those that make (or are made of) one of `texts`.

    A text that is one token of the prompt's alphabet could not have a successor of its own.
    """
    lines = files(__package__).joinpath("merges.txt").read_text(encoding="utf-8").splitlines()
    made = set(_byte_map().values())
    kept: list[tuple[str, str]] = []
    for line in lines:
        left, right = line.split(" ")
        if left in made and right in made and left + right not in texts:
            made.add(left + right)
            kept.append((left, right))
    return kept
