"""JSON answers, arithmetic and string tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import words
from .phrasing import fill

if TYPE_CHECKING:
    import random


def held_out_sum(a: int, b: int) -> bool:
    """Every tenth pair is kept out of the training text, so that the evaluation can use it."""
    return (a * 31 + b * 17) % 10 == 3


def _persons(rng: random.Random) -> tuple[str, dict[str, Any]]:
    name, age, city = words.name(rng), rng.randint(1, 99), words.city(rng)
    job, color = rng.choice(words.JOBS), rng.choice(words.COLORS)
    email = f"{name.lower()}@{words.word(rng)}.{rng.choice(['com', 'org', 'net'])}"
    phrases = {
        "age": [f"is {age} years old", f"turned {age}", f"is {age}"],
        "city": [f"lives in {city}", f"comes from {city}", f"is from {city}"],
        "job": [f"works as a {job}", f"is a {job}"],
        "color": [f"likes {color}", f"has the favorite color {color}", f"loves the color {color}"],
        "email": [f"can be reached at {email}", f"has the email {email}"],
    }
    values: dict[str, Any] = {"age": age, "city": city, "job": job, "color": color, "email": email}
    keys = rng.sample(list(phrases), rng.choice([1, 2, 2, 3]))
    parts = [rng.choice(phrases[key]) for key in keys]
    joined = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    facts = {"name": name} | {key: values[key] for key in keys}
    if rng.random() < 0.25:
        pairs = [f"{key}{rng.choice([': ', ' = ', ' is '])}{value}" for key, value in facts.items()]
        return ", ".join(pairs), facts
    if rng.random() < 0.2:
        return ", ".join(str(value) for value in facts.values()), facts
    first = rng.choice([f"{name} {joined}.", f"{name} {joined}", f"This is {name}, who {joined}."])
    if "age" in facts and set(facts) == {"name", "age"} and rng.random() < 0.3:
        first = rng.choice(
            [
                f"My name is {name} and I am {age} years old.",
                f"I am {name}, {age}.",
                f"{name} ({age})",
            ]
        )
    if set(facts) == {"name", "city"} and rng.random() < 0.4:
        first = rng.choice(
            [f"My name is {name} and I live in {city}.", f"I am {name} from {city}."]
        )
    return first, facts


def _goods(rng: random.Random) -> tuple[str, dict[str, Any]]:
    item, price, count = (
        rng.choice(words.ITEMS) if rng.random() < 0.6 else words.word(rng),
        words.number(rng),
        rng.randint(2, 99),
    )
    color = rng.choice(words.COLORS)
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(
            [
                f"The {item} costs {price} dollars.",
                f"A {item} for {price} dollars",
                f"{item}, {price} dollars",
                f"I paid {price} for the {item}.",
            ]
        ), {"item": item, "price": price}
    if kind < 0.65:
        return rng.choice(
            [
                f"I bought {count} {item}s for {price} dollars.",
                f"{count} {item}s cost {price}.",
                f"Order: {count} x {item} at {price}",
            ]
        ), {"item": f"{item}", "count": count, "price": price}
    return rng.choice(
        [
            f"The {color} {item} costs {price}.",
            f"a {color} {item} for {price} dollars",
            f"The {item} is {color} and costs {price} dollars.",
        ]
    ), {"item": item, "color": color, "price": price}


def _trips(rng: random.Random) -> tuple[str, dict[str, Any]]:
    start, goal, day = (
        words.city(rng),
        words.city(rng),
        rng.choice("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
    )
    return rng.choice(
        [
            f"I fly from {start} to {goal} on {day}.",
            f"The train goes from {start} to {goal} on {day}.",
            f"On {day} we drive from {start} to {goal}.",
            f"from {start} to {goal}, {day}",
        ]
    ), {"from": start, "to": goal, "day": day}


def _korean_person(rng: random.Random) -> tuple[str, dict[str, Any]]:
    name, age, city = rng.choice(words.KO_NAMES), rng.randint(1, 99), words.ko_city(rng)
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(
            [f"{name}는 {age}살입니다.", f"제 이름은 {name}이고 {age}살이에요.", f"{name}, {age}세"]
        ), {"name": name, "age": age}
    if kind < 0.7:
        return rng.choice([f"{name}는 {city}에 살아요.", f"저는 {city}에 사는 {name}입니다."]), {
            "name": name,
            "city": city,
        }
    return rng.choice(
        [f"{name}는 {age}살이고 {city}에 살아요.", f"{city}에 사는 {name}는 {age}살이에요."]
    ), {"name": name, "age": age, "city": city}


_ASK = (
    "Extract {keys} as JSON: {text}|Extract {keys} as JSON from: {text}|Return JSON with {keys}: {text}|"
    "Give me a JSON object with the keys {keys}: {text}|Turn this into JSON with {keys}: {text}|"
    "{text} Answer in JSON with {keys}.|{text} Return {keys} as JSON.|Make JSON with {keys} from this: {text}|"
    "JSON with {keys}: {text}|Read this and return {keys} as a JSON object: {text}|{text} Give {keys} in JSON.|"
    "From the text below return JSON with the fields {keys}.\n{text}|Extract {keys} from this sentence as JSON. {text}|"
    "What are {keys}? Answer as JSON. {text}|Respond with a JSON object that has {keys}. Text: {text}|"
    "Write {keys} as JSON. Text: {text}|Convert to JSON ({keys}): {text}|json {keys}: {text}"
).split("|")  # fmt: skip
_ASK_KO = (
    "{keys}를 JSON으로 추출해 줘: {text}|다음 문장에서 {keys}를 JSON으로 알려줘: {text}|{text} {keys}를 JSON으로 답해 줘|"
    "JSON으로 {keys}를 알려주세요: {text}|{keys} JSON: {text}|{text} 이 문장을 {keys} JSON으로 바꿔 줘"
).split("|")  # fmt: skip
_KO_KEYS = {"name": "이름", "age": "나이", "city": "도시"}


def json_pair(rng: random.Random, korean: bool) -> tuple[str, str]:
    """A text and the JSON object of the wanted values, in the order in which they are named."""
    if rng.random() < 0.12:
        return _json_sum(rng)
    source = (
        _korean_person if korean else rng.choice([_persons, _persons, _persons, _goods, _trips])
    )
    text, facts = source(rng)
    keys = list(facts)
    if len(keys) > 1 and rng.random() < 0.25:
        keys = rng.sample(keys, rng.randint(1, len(keys)))
    shown = keys
    if korean and rng.random() < 0.5:
        shown = [_KO_KEYS[key] + (f"({key})" if rng.random() < 0.3 else "") for key in keys]
    elif rng.random() < 0.3:
        shown = [f"the {key}" for key in keys]
    elif rng.random() < 0.2:
        shown = [f'"{key}"' for key in keys]
    glue = "와 " if korean else rng.choice([" and ", ", "])
    listed = shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + glue + shown[-1]
    asked = fill(rng, rng.choice(_ASK_KO if korean else _ASK), korean, keys=listed, text=text)
    return asked, json.dumps({key: facts[key] for key in keys}, ensure_ascii=False)


def _json_sum(rng: random.Random) -> tuple[str, str]:
    expression, result = _sum(rng)
    key = rng.choice(["answer", "result", "sum", "value"])
    template = rng.choice(
        [
            "What is {e}? Answer as JSON with the key {k}.",
            "Return {e} as JSON with {k}.",
            "JSON with {k}: {e}",
            "Compute {e} and answer in JSON with the key {k}.",
        ]
    )
    return fill(rng, template, e=expression, k=rng.choice([key, f'"{key}"'])), json.dumps(
        {key: result}
    )


def _sum(rng: random.Random) -> tuple[str, int]:
    while True:
        operator = rng.choice("++++---**")
        if operator == "*":
            a, b = rng.randint(0, 12), rng.randint(0, 12)
            return f"{a} * {b}", a * b
        top = rng.choice([9, 20, 99, 99, 99])
        a, b = rng.randint(0, top), rng.randint(0, top)
        if operator == "-":
            a, b = max(a, b), min(a, b)
        if not held_out_sum(a, b):
            return f"{a} {operator} {b}", a + b if operator == "+" else a - b


_SUM_EN = (
    "What is {e}?|{e}|{e} =|{e} = ?|How much is {e}?|Calculate {e}.|Compute {e}.|what's {e}|Tell me {e}.|"
    "Please calculate {e}.|Can you compute {e}?|Solve {e}.|What does {e} make?|I need the result of {e}.|"
    "What is the result of {e}?|{w}?|What is {w}?|How much is {w}?|Calculate {w}.|What do you get for {e}?"
).split("|")  # fmt: skip
_SUM_KO = (
    "{e}는?|{e}은 얼마야?|{e} 계산해 줘|{e}는 얼마예요?|{e}|{e} = ?|{e} 답이 뭐예요?|{e}를 계산해 주세요|{k}|{k} 얼마야?"
).split("|")  # fmt: skip


def sum_pair(rng: random.Random, korean: bool, worked: bool) -> tuple[str, str]:
    """A small sum: 0 to 99 for plus and minus, 0 to 12 for times.

    `worked`: the tens first, then the ones, then the whole. Each step is one of a thousand, which a
    small model learns in a tenth of the time that all ten thousand pairs at once take it.
    """
    expression, result = _sum(rng)
    a, operator, b = expression.split()
    en = {"+": rng.choice(["plus", "and"]), "-": "minus", "*": "times"}[operator]
    ko = {"+": "더하기", "-": "빼기", "*": "곱하기"}[operator]
    written = expression
    if rng.random() < 0.35:
        written = expression.replace(" ", "")
    if operator == "*" and rng.random() < 0.4:
        written = written.replace("*", "x")
    template = rng.choice(_SUM_KO if korean else _SUM_EN)
    asked = fill(rng, template, korean, e=written, w=f"{a} {en} {b}", k=f"{a} {ko} {b}")
    tens, ones = int(b) // 10 * 10, int(b) % 10
    if not worked or operator == "*" or not tens or not ones:
        return asked, f"{expression} = {result}"
    half = int(a) + tens if operator == "+" else int(a) - tens
    steps = f"{a} {operator} {tens} = {half}, {half} {operator} {ones} = {result}"
    return asked, f"{steps}: {expression} = {result}"


def string_pair(rng: random.Random, korean: bool) -> tuple[str, str]:
    """Repeat, first, last, join, count words, capital letters."""
    some = [words.word(rng) for _ in range(rng.randint(2, 6))]
    text, kind = " ".join(some), rng.random()
    if korean:
        if kind < 0.5:
            return fill(
                rng,
                rng.choice(
                    [
                        "따라 해 봐: {t}",
                        "{t}라고 말해 줘",
                        "다음을 그대로 반복해 줘: {t}",
                        "'{t}'라고 해 줘",
                    ]
                ),
                True,
                t=text,
            ), text
        if kind < 0.75:
            return fill(
                rng,
                rng.choice(
                    ["첫 단어는? {t}", "'{t}'의 첫 번째 단어는 뭐야?", "첫 단어를 알려줘: {t}"]
                ),
                True,
                t=text,
            ), some[0]
        return fill(
            rng,
            rng.choice(
                ["마지막 단어는? {t}", "'{t}'의 마지막 단어는 뭐야?", "마지막 단어를 알려줘: {t}"]
            ),
            True,
            t=text,
        ), some[-1]
    if kind < 0.3:
        text = words.natural(rng) if rng.random() < 0.5 else text
        return fill(
            rng,
            rng.choice(
                [
                    "Repeat after me: {t}",
                    "Repeat: {t}",
                    "Say {t}",
                    "Say '{t}'",
                    "Repeat this exactly: {t}",
                    "Please say: {t}",
                    "Echo {t}",
                    "Repeat the words {t}",
                    "Answer only with: {t}",
                    "Reply with {t}",
                ]
            ),
            t=text,
        ), text
    if kind < 0.45:
        return fill(
            rng,
            rng.choice(
                [
                    "What is the first word of: {t}",
                    "First word of '{t}'?",
                    "Give me the first word: {t}",
                    "Which word comes first in {t}",
                    "Name the first word in '{t}'.",
                ]
            ),
            t=text,
        ), some[0]
    if kind < 0.6:
        return fill(
            rng,
            rng.choice(
                [
                    "What is the last word of: {t}",
                    "Last word of '{t}'?",
                    "Give me the last word: {t}",
                    "Which word comes last in {t}",
                    "Name the last word in '{t}'.",
                ]
            ),
            t=text,
        ), some[-1]
    if kind < 0.75:
        return fill(
            rng,
            rng.choice(
                [
                    "Join these words with dashes: {t}",
                    "Put dashes between the words: {t}",
                    "Write {t} with dashes",
                    "Replace the spaces by dashes: {t}",
                ]
            ),
            t=text,
        ), "-".join(some)
    if kind < 0.88:
        return fill(
            rng,
            rng.choice(
                [
                    "How many words are in: {t}",
                    "Count the words: {t}",
                    "How many words does '{t}' have?",
                    "Word count of '{t}'?",
                ]
            ),
            t=text,
        ), str(len(some))
    one = rng.choice(words.WORDS)
    return fill(
        rng,
        rng.choice(
            [
                "Write {t} in capital letters.",
                "Uppercase {t}",
                "Make {t} uppercase.",
                "Convert '{t}' to upper case.",
                "{t} in capitals",
            ]
        ),
        t=one,
    ), one.upper()
