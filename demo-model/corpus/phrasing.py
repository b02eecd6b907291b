"""Turns facts into many questions, and makes every text a little unlike itself.

Words in braces are slots: `perturb` never touches them, so that what has to be copied stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from .facts import Fact

EN_NP = (
    "What is {np}?|what's {np}|Tell me {np}.|Can you tell me {np}?|Do you know {np}?|"
    "I need to know {np}.|{np}?|{np}|Could you remind me of {np}?|What was {np} again?|"
    "Give me {np}.|I forgot {np}.|Please tell me {np}.|I am looking for {np}.|"
    "Quick question: what is {np}?|Explain {np}.|What about {np}?|I want to know {np}.|"
    "Remind me: what is {np}?|Tell me about {np}.|What is {np} in this project?|"
    "Could you say what {np} is?|Say what {np} is.|So what is {np} then?|what would be {np}"
).split("|")
EN_VP = (
    "How do I {vp}?|How can I {vp}?|How to {vp}?|What command do I use to {vp}?|"
    "What do I type to {vp}?|I want to {vp}.|I'd like to {vp}, what do I run?|"
    "Is there a way to {vp}?|What is the command to {vp}?|Show me how to {vp}.|Help me {vp}.|"
    "command to {vp}|What should I run to {vp}?|Tell me how to {vp}.|How would I {vp}?|"
    "Which make target do I use to {vp}?|What must I do to {vp}?|How does one {vp}?|"
    "Can you explain how to {vp}?|I need to {vp}.|Which command lets me {vp}?|"
    "What is the best way to {vp}?|How could I {vp}?|Please help me to {vp}.|How should I {vp}?|"
    "Can I {vp}?|I am trying to {vp}.|What's the right command to {vp}?|How do you {vp}?"
).split("|")
KO_NP = (
    "{np} 뭐야?|{np} 뭐예요?|{np} 알려줘|{np} 좀 알려주세요|{np} 무엇인가요?|{np}?|{np}|"
    "{np} 궁금해요|{np} 아세요?|{np} 말해 줘|{np} 뭐였지?|{np}에 대해 알려줘|{np} 설명해 줘|"
    "{np} 무엇입니까?|{np} 뭔가요?|{np} 알고 싶어요|{np} 가르쳐 주세요|{np} 좀 알려줄래?|"
    "{np} 뭔지 알려주세요|{np} 알 수 있을까요?"
).split("|")
KO_VP = (
    "{vp} 방법|{vp}하려면 어떻게 해?|{vp}하는 방법 알려줘|어떻게 {vp}해요?|{vp} 명령어 뭐야?|"
    "{vp}하고 싶어요|{vp}하는 명령어 알려주세요|{vp} 어떻게 하나요?|{vp} 방법 알려줘|"
    "{vp}하려면 무슨 명령을 써요?|{vp} 어떻게 해?|{vp}하는 법|{vp}하려면?|{vp} 좀 도와줘|"
    "{vp}할 때 쓰는 명령은?|{vp}하는 법을 알려주세요|{vp}하려면 뭘 입력해요?|{vp}은 어떻게 해요?"
).split("|")

_EN_BEFORE = (
    "Hi, |Hello, |Hey, |Please, |OK, |Quick question: |Sorry, |One question: |So, |Hi! |"
    "Excuse me, |I have a question. |Hello! |Well, |Just curious, |And "
).split("|")
_EN_AFTER = " Thanks!| thanks| please| Thank you.| (just briefly)| I am new here.| Please be brief.| Any idea?".split(
    "|"
)
_KO_BEFORE = (
    "저기요, |안녕하세요, |혹시 |질문이 있어요. |음, |그런데 |죄송하지만 |궁금한 게 있는데 ".split(
        "|"
    )
)
_KO_AFTER = " 감사합니다| 부탁해요| 고마워요| 짧게 답해 주세요| 빨리요".split("|")
_SLOT = re.compile(r"(\{[a-z0-9_]+\})")
_HANGUL_FIRST, _HANGUL_LAST = 0xAC00, 0xD7A3
_PARTICLES = (("은", "는"), ("이", "가"), ("을", "를"))


def particle(word: str, pair: tuple[str, str]) -> str:
    """은/는 and their like: the first after a closed syllable, the second after an open one."""
    code = ord(word[-1])
    closed = _HANGUL_FIRST <= code <= _HANGUL_LAST and (code - _HANGUL_FIRST) % 28 > 0
    return pair[0] if closed else pair[1]


def question(rng: random.Random, fact: Fact, korean: bool) -> str:
    """One way to ask for `fact`."""
    if korean:
        kinds = [("np", fact.ko_np, KO_NP), ("vp", fact.ko_vp, KO_VP), ("q", fact.ko, None)]
    else:
        kinds = [("np", fact.en_np, EN_NP), ("vp", fact.en_vp, EN_VP), ("q", fact.en, None)]
    kinds = [kind for kind in kinds if kind[1]]
    name, options, frames = rng.choice([*kinds, *(k for k in kinds if k[0] == "q")])
    phrase = rng.choice(fact.split(options))
    if frames is None:
        return perturb(rng, phrase, korean)
    if korean and name == "np" and rng.random() < 0.4:
        phrase += particle(phrase, rng.choice(_PARTICLES))
    return perturb(rng, rng.choice(frames).replace("{" + name + "}", phrase), korean)


def perturb(rng: random.Random, text: str, korean: bool = False, around: bool = True) -> str:
    """The same text in another hand: greeting, thanks, case, punctuation, a typing error."""
    if around and rng.random() < 0.25:
        before = rng.choice(_KO_BEFORE if korean else _EN_BEFORE)
        lower_next = before.endswith(", ") and rng.random() < 0.7 and not text[:2].isupper()
        text = before + (text[0].lower() + text[1:] if lower_next else text)
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    elif rng.random() < 0.1:
        text = text.rstrip("?.!") + rng.choice(["!", "??", " ?", "...", "."])
    # Never after a slot: thanks would read as a part of what is to be copied.
    if around and not text.endswith("}") and rng.random() < 0.1:
        text += rng.choice(_KO_AFTER if korean else _EN_AFTER)
    parts = _SLOT.split(text)
    style = rng.random()
    for index in range(0, len(parts), 2):
        if style < 0.2:
            parts[index] = parts[index].lower()
        elif style < 0.22:
            parts[index] = parts[index].upper()
        if rng.random() < 0.12:
            parts[index] = _typo(rng, parts[index])
    return "".join(parts)


def _typo(rng: random.Random, text: str) -> str:
    """Swap, drop or double one letter of a longer word."""
    words = list(re.finditer(r"[a-z]{5,}|[가-힣]{4,}", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.8:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def fill(rng: random.Random, template: str, korean: bool = False, **slots: str) -> str:
    """Perturb `template`, then put the slots in."""
    text = perturb(rng, template, korean)
    for name, value in slots.items():
        text = text.replace("{" + name + "}", value)
    return text
