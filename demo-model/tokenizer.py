"""Trains the demo model's tokenizer: byte-level BPE that llama.cpp reads as `qwen2`.

The merges are learnt on runs of letters and of spaces only, each digit and each mark alone, and
then a few marks and `space + frequent word` are merged on top. So a file name or a city is cut the
same way wherever it stands (after a space, a quote or a slash), and copying it is easy to learn.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import words
from corpus.mixture import documents

# llama.cpp, src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_QWEN2.
QWEN2 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_STRICT = r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]|\s*[\r\n]|\s+(?!\S)|\s+"
LEARNT = 2600
FREQUENT_WORDS = 320
CONTROL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
)
VISIBLE = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_MARKS = (
    '{ "|" :|} }|" }}|" }|" ,|[ "|" ]|Ġ {"|Ġ "|Ġ {|Ġ [|( )|) :|( ):|Ġ (|` `|`` `|Ġ `|` .|. Ċ|: Ċ|, Ċ|): Ċ|) Ċ|} Ċ|'
    "Ġ =|= =|Ġ ==|Ġ +|Ġ -|Ġ *|* *|Ġ **|Ġ %|Ġ /|Ġ >|Ġ <|: /|:/ /|/ /|- -|: :|] Ċ|Ċ Ċ|' s|Ġ '|[ :|: :"
).split("|")  # fmt: skip


def train(seed: int = 7, count: int = 40_000) -> Tokenizer:
    texts = [
        "".join(text for text, _ in d.segments()) for d in itertools.islice(documents(seed), count)
    ]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"<\|[a-z_]+\|>|</?tool_[a-z]+>"), behavior="removed"),
            pre_tokenizers.Split(Regex(_STRICT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=256 + LEARNT,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=20,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = dict.fromkeys([*alphabet, *("".join(merge) for merge in merges)])
    for left, right in [tuple(pair.split(" ")) for pair in _MARKS] + _spaced(texts, vocabulary):
        if left + right not in vocabulary and left in vocabulary and right in vocabulary:
            vocabulary[left + right] = None
            merges.append((left, right))
    ids = {token: number for number, token in enumerate(vocabulary)}
    return assemble(ids, merges)


def assemble(ids: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in VISIBLE])
    return tokenizer


def _spaced(texts: list[str], vocabulary: dict[str, None]) -> list[tuple[str, str]]:
    """`space + word` for frequent words that are never values to be copied."""
    values = {
        w.lower()
        for pool in (
            words.WORDS,
            words.NAMES,
            words.FILE_STEMS,
            words.FOLDERS,
            words.COLORS,
            words.JOBS,
            words.ITEMS,
            words.CONDITIONS,
            words.EXTENSIONS,
        )
        for w in pool
    }
    values |= {part.lower() for city in words.CITIES for part in city.split()}
    counts: Counter[str] = Counter()
    for text in texts[:10_000]:
        counts.update(re.findall(r"(?<= )[A-Za-z가-힣]+(?=[ .,?:<`])", text))
    mapping = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pairs = []
    for word, _ in counts.most_common():
        (mapped, _span), *_ = mapping.pre_tokenize_str(word)
        if word.lower() not in values and mapped in vocabulary and not re.search("[가-힣]", word):
            pairs.append(("Ġ", mapped))
        if len(pairs) == FREQUENT_WORDS:
            break
    return pairs


if __name__ == "__main__":
    path = Path(__file__).with_name("tokenizer.json")
    tokenizer = train()
    tokenizer.save(str(path))
    sample = list(itertools.islice(documents(99), 2000))
    lengths = [len(tokenizer.encode("".join(t for t, _ in d.segments())).ids) for d in sample]
    learnt = [len(tokenizer.encode(t).ids) for d in sample for t, yes in d.segments() if yes]
    print(
        f"{tokenizer.get_vocab_size()} tokens; mean document {sum(lengths) / len(lengths):.0f} tokens, longest {max(lengths)}; learnt {sum(learnt) / sum(lengths):.2f}"
    )
    for text in [
        "Read docs/report_7.txt.",
        '{"name": "read_file", "arguments": {"path": "docs/report_7.txt"}}',
        "게이트웨이는 8000번 포트를 사용합니다.",
        "def add(a, b):\n    return a + b\n",
        "What is the weather in Tokyo?",
    ]:
        print(tokenizer.encode(text).tokens)
