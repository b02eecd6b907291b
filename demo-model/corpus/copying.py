"""Documents that are nothing but copying: what tool calls, JSON answers and code all stand on.

A small transformer learns to copy late and all at once. Long repeats of meaningless text, where
every token of the answer stands in the prompt, bring that about early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import words
from .conversation import Document, assistant, user

if TYPE_CHECKING:
    import random

_FRAMES = (
    "Repeat: {t}|Repeat after me: {t}|Say {t}|Echo {t}|Copy: {t}|{t} Repeat that.|Say this again: {t}|"
    "Repeat this exactly: {t}|Reply with {t}|Answer only with: {t}|따라 해 봐: {t}|다음을 그대로 반복해 줘: {t}"
).split("|")


def _thing(rng: random.Random) -> str:
    kind = rng.randrange(11)
    match kind:
        case 0 | 1:
            return words.invented(rng)
        case 2:
            return words.file(rng)
        case 3:
            return str(words.number(rng))
        case 4:
            return words.folder(rng)
        case 5:
            return words.name(rng)
        case 6:
            return words.city(rng)
        case 7:
            return words.ko_city(rng)
        case 8:
            return rng.choice(words.KO_NAMES)
        case 9:
            return words.command(rng)
        case _:
            return words.word(rng)


def repeat(rng: random.Random) -> Document:
    """Six to forty things, and the same again."""
    things = [_thing(rng) for _ in range(rng.randint(6, 40))]
    text = rng.choice([" ", " ", ", ", "\n", "/"]).join(things)
    return Document([user(rng.choice(_FRAMES).replace("{t}", text)), assistant(text)])


def look_up(rng: random.Random) -> Document:
    """Keys and values, and the values of some keys in another order."""
    count = rng.randint(3, 10)
    pairs = {_thing(rng): _thing(rng) for _ in range(count)}
    glue = rng.choice([": ", " = ", " is ", "="])
    text = rng.choice(["\n", ", ", "; "]).join(
        f"{key}{glue}{value}" for key, value in pairs.items()
    )
    wanted = rng.sample(list(pairs), rng.randint(1, len(pairs)))
    asked = f"{text}\n{rng.choice(['Give', 'What is', 'Tell me', 'Values of'])} {', '.join(wanted)}"
    return Document([user(asked), assistant(", ".join(pairs[key] for key in wanted))])


def document(rng: random.Random) -> Document:
    return repeat(rng) if rng.random() < 0.7 else look_up(rng)
