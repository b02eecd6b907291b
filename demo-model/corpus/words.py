"""Names, cities, files and other values that documents copy; half of them are made up."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

NAMES = "Anna Ben Clara David Emma Felix Grace Henry Ivy Jack Kate Leo Mia Noah Olivia Paul Quinn Rosa Sam Tina Uma Victor Wendy Xavier Yuna Zoe Alice Bob Carol Dan Eve Frank Jisoo Minho Sora Hana Lukas Marta Pedro Aisha Omar Priya Ravi Chen Mei Yuki Kenji Ingrid Nils Maria Tom Lucy Peter Sarah John Laura Mark Nina Oscar Julia".split()
KO_NAMES = "민수 지수 서연 민준 하은 지훈 수빈 도윤 유진 현우 예은 준호 소라 영희 철수 은지 태현 다은".split()
CITIES = "Seoul|Busan|Paris|London|Berlin|Tokyo|New York|Madrid|Rome|Vienna|Oslo|Lima|Cairo|Delhi|Sydney|Toronto|Chicago|Boston|Lisbon|Prague|Dublin|Warsaw|Athens|Helsinki|Stockholm|Kyoto|Osaka|Beijing|Shanghai|Mumbai|Nairobi|Lagos|Denver|Seattle|Austin|Miami|Hamburg|Munich|Zurich|Geneva|Milan|Naples|Incheon|Daegu|Jeju|San Francisco|Los Angeles|Hong Kong|Buenos Aires|Cape Town".split(
    "|"
)
KO_CITIES = "서울 부산 인천 대구 대전 광주 울산 제주 수원 파리 런던 도쿄 베를린 뉴욕 로마 강릉 전주 춘천 포항 여수".split()
WORDS = "apple river stone cloud garden window paper bridge winter summer music coffee orange silver forest mountain ocean street market kitchen table chair mirror pencil bottle basket candle ladder hammer engine rocket planet signal button ticket letter number picture story animal rabbit tiger horse eagle dragon castle tower village island desert valley thunder shadow spring autumn morning evening night yellow purple green black white blue red happy quiet quick brave clever gentle simple strong bright dark cold warm fresh sweet salt sugar butter bread cheese tomato potato onion pepper lemon cherry banana grape melon report notes data config main test index readme budget invoice summary draft plan log server client model user order item price list page post image photo video audio script module parser lexer token cache queue stack tree graph node edge query table view".split()
FILE_STEMS = "main test notes report data config index readme todo utils app server client model parser budget invoice summary draft plan results log users orders items prices schema setup build deploy train eval demo sample example input output backup archive letter essay recipe diary script module helper settings requirements changelog license manual guide tasks agenda minutes contacts songs".split()
EXTENSIONS = "txt py md json csv yaml toml log html js ts cfg ini sh xml".split()
FOLDERS = "src docs tests data models scripts lib build logs images notes home tmp assets public config backup reports downloads projects".split()
COMMANDS = "ls -la|git status|git log|pytest -q|python main.py|make test|make build|npm install|npm test|df -h|whoami|date|pwd|uname -a|cargo build|docker ps|git diff|ls|ps aux|du -sh .|python --version|git pull|pip list|uptime|free -m|echo hello|cat notes.txt|make lint|git branch|node app.js|go test|ruff check .|top -n 1|env|hostname|make bench|make status|tree|history|id|which python".split(
    "|"
)
CONDITIONS = "sunny|rainy|cloudy|windy|snowy|foggy|clear|stormy".split("|")
KO_CONDITIONS = {
    "sunny": "맑음",
    "rainy": "비",
    "cloudy": "흐림",
    "windy": "바람",
    "snowy": "눈",
    "foggy": "안개",
    "clear": "맑음",
    "stormy": "폭풍",
}
COLORS = "red blue green yellow black white purple orange pink brown gray silver gold".split()
JOBS = "teacher doctor nurse engineer baker pilot lawyer farmer writer artist driver chef singer painter carpenter plumber scientist designer".split()
ITEMS = "pen book lamp chair phone laptop bag shirt shoe hat clock cup plate bike guitar camera desk sofa mouse keyboard monitor bottle jacket watch".split()
_SYLLABLES = "ba be bi bo bu ca co cu da de di do fa fe fi ga go ka ke ki ko la le li lo lu ma me mi mo na ne ni no pa pe pi po ra re ri ro ru sa se si so ta te ti to tu va ve vi vo wa we wi za zo zu".split()
_ENDS = ["", "", "n", "r", "s", "x", "l", "t", "m", "nd", "rt", "ck"]
_KO_SYLLABLES = (
    "가나다라마바사아자차카타파하고노도로모보소오조호구누두루무부수우주후기니디리미비시이지"
)


def invented(rng: random.Random) -> str:
    """A made-up word: what makes the model copy instead of remember."""
    if rng.random() < 0.15:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 6)))
    return "".join(rng.choices(_SYLLABLES, k=rng.choice([1, 2, 2, 3]))) + rng.choice(_ENDS)


def word(rng: random.Random) -> str:
    return rng.choice(WORDS) if rng.random() < 0.5 else invented(rng)


def name(rng: random.Random) -> str:
    return rng.choice(NAMES) if rng.random() < 0.6 else invented(rng).capitalize()


def city(rng: random.Random) -> str:
    return rng.choice(CITIES) if rng.random() < 0.65 else invented(rng).capitalize()


def ko_city(rng: random.Random) -> str:
    if rng.random() < 0.75:
        return rng.choice(KO_CITIES)
    return "".join(rng.choices(_KO_SYLLABLES, k=2))


def number(rng: random.Random) -> int:
    return rng.choice([rng.randint(0, 9), rng.randint(10, 99), rng.randint(100, 9999)])


def stem(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(FILE_STEMS)
    if kind < 0.6:
        return invented(rng)
    first = rng.choice(FILE_STEMS) if rng.random() < 0.5 else word(rng)
    second = str(rng.randint(1, 2030)) if rng.random() < 0.4 else word(rng)
    return first + rng.choice("_-") + second


def file(rng: random.Random, folders: float = 0.25) -> str:
    base = f"{stem(rng)}.{rng.choice(EXTENSIONS)}"
    if rng.random() < 0.1:
        base = rng.choice(["README.md", "Makefile", "LICENSE", "Dockerfile", ".env", "TODO.md"])
    if rng.random() < folders:
        base = f"{folder(rng)}/{base}"
    return base


def folder(rng: random.Random) -> str:
    parts = [
        rng.choice(FOLDERS) if rng.random() < 0.6 else word(rng)
        for _ in range(rng.choice([1, 1, 1, 2, 3]))
    ]
    lead = rng.choice(["", "", "", "", "/", "./"])
    return lead + "/".join(parts)


def sentence(rng: random.Random, longest: int = 8) -> str:
    """A few words that mean nothing."""
    text = " ".join(word(rng) for _ in range(rng.randint(1, longest)))
    style = rng.random()
    if style < 0.3:
        text = text.capitalize() + rng.choice(".!")
    elif style < 0.4:
        text += f" {number(rng)}"
    return text


def natural(rng: random.Random) -> str:
    """A short sentence that might stand in a file."""
    who, what, where = name(rng), rng.choice(ITEMS), city(rng)
    return rng.choice(
        [
            f"Buy a {what} and a {rng.choice(ITEMS)}.",
            f"{who} lives in {where}.",
            f"The meeting is at {rng.randint(1, 12)} pm.",
            f"Call {who} about the {what}.",
            f"The {what} costs {number(rng)} dollars.",
            f"hello {word(rng)}",
            f"Hello, {who}!",
            f"print('{word(rng)}')",
            f"{word(rng)} = {number(rng)}",
            f"The {rng.choice(WORDS)} is {rng.choice(COLORS)}.",
            f"TODO: {word(rng)} the {word(rng)}",
            "hello world",
            f"My favorite color is {rng.choice(COLORS)}.",
            f"{who} has {rng.randint(2, 20)} {what}s.",
            sentence(rng),
            sentence(rng),
        ]
    )


def command(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(COMMANDS)
    if kind < 0.6:
        return f"python {file(rng)}"
    if kind < 0.7:
        return f"cat {file(rng)}"
    if kind < 0.78:
        return f"echo {word(rng)}"
    if kind < 0.86:
        return f"ls {folder(rng)}"
    if kind < 0.93:
        return f"git checkout {word(rng)}"
    return f"make {word(rng)}"
