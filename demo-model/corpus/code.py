"""Short Python functions, and fill-in-the-middle pairs made of them with Qwen's FIM tokens.

Each function is a template: `F` is its name (several are given), `A` and `B` its arguments.
"""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import words
from .phrasing import fill

if TYPE_CHECKING:
    import random

FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
END = "<|endoftext|>"

TWO_NUMBERS = "a b|x y|m n|p q|first second|left right|num1 num2|i j|one two|u v"
NUMBER = "n|x|num|value|number|k|a|i"
TEXT = "s|text|word|string|t|line|name"
LIST = "items|numbers|values|xs|data|lst|nums|arr|elements"


# Names that mean something else in a body.
_TAKEN = {*dir(builtins), "result", "total", "math", "os", "k", "n", "c", "f", "F", "A", "B"}


@dataclass(frozen=True)
class Function:
    names: str
    arguments: str
    body: str
    what: str
    ko: str = ""


FUNCTIONS = (
    Function("add|add_numbers|sum_two|plus|addition|add_two", TWO_NUMBERS, "return A + B", "adds two numbers|returns the sum of two numbers|adds A and B", "두 수를 더하는"),
    Function("subtract|minus|difference|sub|subtract_numbers", TWO_NUMBERS, "return A - B", "subtracts two numbers|returns the difference of two numbers", "두 수를 빼는"),
    Function("multiply|mul|product|times|multiply_numbers", TWO_NUMBERS, "return A * B", "multiplies two numbers|returns the product of two numbers", "두 수를 곱하는"),
    Function("divide|div|quotient|divide_numbers", TWO_NUMBERS, "return A / B", "divides two numbers|divides A by B", "두 수를 나누는"),
    Function("power|pow_of|raise_to|power_of", TWO_NUMBERS, "return A ** B", "raises A to the power of B|returns A to the power B", "거듭제곱을 구하는"),
    Function("modulo|remainder|mod", TWO_NUMBERS, "return A % B", "returns the remainder of a division|computes the remainder of A and B", "나머지를 구하는"),
    Function("average|mean_of_two|avg|midpoint", TWO_NUMBERS, "return (A + B) / 2", "returns the average of two numbers|averages two numbers", "두 수의 평균을 구하는"),
    Function("maximum|max_of_two|larger|bigger|max2", TWO_NUMBERS, "if A > B:\n        return A\n    return B", "returns the larger of two numbers|finds the maximum of two numbers", "두 수 중 큰 수를 구하는"),
    Function("minimum|min_of_two|smaller|min2", TWO_NUMBERS, "if A < B:\n        return A\n    return B", "returns the smaller of two numbers|finds the minimum of two numbers", "두 수 중 작은 수를 구하는"),
    Function("is_equal|equal|same|are_equal", TWO_NUMBERS, "return A == B", "checks if two values are equal|says whether two values are the same", "두 값이 같은지 확인하는"),
    Function("area|rectangle_area|area_of_rectangle", "width height|w h|length width|a b", "return A * B", "computes the area of a rectangle|returns the area of a rectangle", "직사각형의 넓이를 구하는"),
    Function("perimeter|rectangle_perimeter", "width height|w h|length width|a b", "return 2 * (A + B)", "computes the perimeter of a rectangle|returns the perimeter of a rectangle", "직사각형의 둘레를 구하는"),
    Function("square|squared|square_number", NUMBER, "return A * A", "squares a number|returns the square of a number", "제곱을 구하는"),
    Function("cube|cubed|cube_number", NUMBER, "return A ** 3", "cubes a number|returns the cube of a number", "세제곱을 구하는"),
    Function("double|twice|double_number|times_two", NUMBER, "return A * 2", "doubles a number|returns twice a number", "두 배를 구하는"),
    Function("half|halve|half_of", NUMBER, "return A / 2", "halves a number|returns half of a number", "절반을 구하는"),
    Function("increment|inc|add_one|plus_one", NUMBER, "return A + 1", "adds one to a number|increments a number", "1을 더하는"),
    Function("decrement|dec|minus_one|subtract_one", NUMBER, "return A - 1", "subtracts one from a number|decrements a number", "1을 빼는"),
    Function("negate|negative|neg", NUMBER, "return -A", "negates a number|returns the negative of a number", "부호를 바꾸는"),
    Function("is_even|even|check_even", NUMBER, "return A % 2 == 0", "checks if a number is even|returns True if a number is even|says whether a number is even", "짝수인지 확인하는"),
    Function("is_odd|odd|check_odd", NUMBER, "return A % 2 == 1", "checks if a number is odd|returns True if a number is odd", "홀수인지 확인하는"),
    Function("is_positive|positive", NUMBER, "return A > 0", "checks if a number is positive|says whether a number is positive", "양수인지 확인하는"),
    Function("is_negative|check_negative", NUMBER, "return A < 0", "checks if a number is negative|says whether a number is negative", "음수인지 확인하는"),
    Function("is_zero|zero", NUMBER, "return A == 0", "checks if a number is zero|says whether a number is zero", "0인지 확인하는"),
    Function("absolute|abs_value|absolute_value", NUMBER, "return abs(A)", "returns the absolute value of a number|computes the absolute value", "절댓값을 구하는"),
    Function("factorial|fact", NUMBER, "result = 1\n    for k in range(1, A + 1):\n        result *= k\n    return result", "computes the factorial of a number|returns the factorial", "팩토리얼을 구하는"),
    Function("factorial_recursive|rec_factorial", NUMBER, "if A <= 1:\n        return 1\n    return A * F(A - 1)", "computes the factorial recursively", "재귀로 팩토리얼을 구하는"),
    Function("fibonacci|fib", NUMBER, "if A < 2:\n        return A\n    return F(A - 1) + F(A - 2)", "computes the Fibonacci number|returns the nth Fibonacci number", "피보나치 수를 구하는"),
    Function("celsius_to_fahrenheit|to_fahrenheit|c_to_f", "c|celsius|temp|degrees", "return A * 9 / 5 + 32", "converts Celsius to Fahrenheit", "섭씨를 화씨로 바꾸는"),
    Function("fahrenheit_to_celsius|to_celsius|f_to_c", "f|fahrenheit|temp|degrees", "return (A - 32) * 5 / 9", "converts Fahrenheit to Celsius", "화씨를 섭씨로 바꾸는"),
    Function("reverse|reverse_string|reverse_text|reversed_text", TEXT, "return A[::-1]", "reverses a string|returns a string backwards", "문자열을 뒤집는"),
    Function("is_palindrome|palindrome|check_palindrome", TEXT, "return A == A[::-1]", "checks if a string is a palindrome|says whether a word is a palindrome", "회문인지 확인하는"),
    Function("to_upper|uppercase|shout|upper", TEXT, "return A.upper()", "converts a string to upper case|makes a text uppercase", "대문자로 바꾸는"),
    Function("to_lower|lowercase|lower", TEXT, "return A.lower()", "converts a string to lower case|makes a text lowercase", "소문자로 바꾸는"),
    Function("count_words|word_count|number_of_words", TEXT, "return len(A.split())", "counts the words of a text|returns the number of words", "단어 수를 세는"),
    Function("text_length|string_length|length_of", TEXT, "return len(A)", "returns the length of a string|counts the characters of a string", "문자열의 길이를 구하는"),
    Function("first_char|first_letter|initial", TEXT, "return A[0]", "returns the first character of a string|gets the first letter", "첫 글자를 구하는"),
    Function("last_char|last_letter", TEXT, "return A[-1]", "returns the last character of a string|gets the last letter", "마지막 글자를 구하는"),
    Function("count_vowels|vowels|number_of_vowels", TEXT, 'return sum(c in "aeiou" for c in A.lower())', "counts the vowels of a text|returns the number of vowels", "모음 수를 세는"),
    Function("is_empty|empty", TEXT, "return len(A) == 0", "checks if a string is empty|says whether a text is empty", "비어 있는지 확인하는"),
    Function("greet|say_hello|hello|greeting", "name|person|who|user", 'return f"Hello, {A}!"', "greets a person by name|says hello to a person", "이름으로 인사하는"),
    Function("repeat_text|repeat|repeat_string", "text n|s n|word times|s count", "return A * B", "repeats a text B times|repeats a string", "문자열을 반복하는"),
    Function("join_words|concat|concatenate", "a b|first second|s t", "return A + B", "joins two strings|concatenates two strings", "두 문자열을 합치는"),
    Function("strip_spaces|trim|clean", TEXT, "return A.strip()", "removes the spaces around a text|trims a string", "공백을 없애는"),
    Function("sum_list|total|sum_all|list_sum|add_all", LIST, "return sum(A)", "sums a list of numbers|returns the sum of a list|adds all numbers of a list", "리스트의 합을 구하는"),
    Function("mean|average_list|list_average|average_of", LIST, "return sum(A) / len(A)", "computes the average of a list|returns the mean of a list", "리스트의 평균을 구하는"),
    Function("largest|max_of_list|list_max|find_max", LIST, "return max(A)", "finds the largest number of a list|returns the maximum of a list", "리스트의 최댓값을 구하는"),
    Function("smallest|min_of_list|list_min|find_min", LIST, "return min(A)", "finds the smallest number of a list|returns the minimum of a list", "리스트의 최솟값을 구하는"),
    Function("sort_list|sorted_list|sort_numbers|in_order", LIST, "return sorted(A)", "sorts a list|returns the sorted list", "리스트를 정렬하는"),
    Function("sort_descending|sort_down", LIST, "return sorted(A, reverse=True)", "sorts a list in descending order", "리스트를 내림차순으로 정렬하는"),
    Function("reverse_list|reversed_list", LIST, "return A[::-1]", "reverses a list|returns a list backwards", "리스트를 뒤집는"),
    Function("count_items|list_length|size|count", LIST, "return len(A)", "counts the items of a list|returns the length of a list", "리스트의 길이를 구하는"),
    Function("first_item|first|head", LIST, "return A[0]", "returns the first item of a list", "리스트의 첫 원소를 구하는"),
    Function("last_item|last|tail_item", LIST, "return A[-1]", "returns the last item of a list", "리스트의 마지막 원소를 구하는"),
    Function("unique|remove_duplicates|distinct", LIST, "return list(set(A))", "removes duplicates from a list|returns the unique items", "중복을 없애는"),
    Function("evens|even_numbers|filter_even|only_even", LIST, "return [n for n in A if n % 2 == 0]", "returns the even numbers of a list|filters the even numbers", "짝수만 고르는"),
    Function("odds|odd_numbers|filter_odd|only_odd", LIST, "return [n for n in A if n % 2 == 1]", "returns the odd numbers of a list|filters the odd numbers", "홀수만 고르는"),
    Function("squares|square_all|square_list", LIST, "return [n * n for n in A]", "squares every number of a list", "리스트의 모든 수를 제곱하는"),
    Function("double_all|doubled|double_list", LIST, "return [n * 2 for n in A]", "doubles every number of a list", "리스트의 모든 수를 두 배로 만드는"),
    Function("positives|only_positive|filter_positive", LIST, "return [n for n in A if n > 0]", "returns the positive numbers of a list", "양수만 고르는"),
    Function("contains|has_item|is_in", "items x|items item|values value|lst x", "return B in A", "checks if a list contains an item|says whether an item is in a list", "리스트에 있는지 확인하는"),
    Function("product_of|multiply_all|list_product", LIST, "result = 1\n    for n in A:\n        result *= n\n    return result", "multiplies all numbers of a list|returns the product of a list", "리스트의 곱을 구하는"),
    Function("sum_loop|total_loop|add_up", LIST, "total = 0\n    for n in A:\n        total += n\n    return total", "sums a list with a loop", "반복문으로 합을 구하는"),
    Function("sum_to|sum_up_to|sum_first", NUMBER, "return sum(range(A + 1))", "sums the numbers up to a number|returns the sum from 0 to A", "1부터 더하는"),
    Function("is_prime|prime|check_prime", NUMBER, "if A < 2:\n        return False\n    for k in range(2, A):\n        if A % k == 0:\n            return False\n    return True", "checks if a number is prime|says whether a number is a prime", "소수인지 확인하는"),
    Function("read_text|read_file|load_text", "path|filename|file", "with open(A) as f:\n        return f.read()", "reads a text file|returns the text of a file", "파일을 읽는"),
    Function("is_leap_year|leap_year|leap", "year|y", "return A % 4 == 0 and (A % 100 != 0 or A % 400 == 0)", "checks if a year is a leap year", "윤년인지 확인하는"),
)  # fmt: skip

_ASK = (
    "Write a Python function that {w}.|Write a function that {w}.|Give me a Python function that {w}.|"
    "Python function that {w}|Show me code that {w}.|I need a Python function that {w}.|Can you write a function that {w}?|"
    "Create a function that {w}.|Please write Python code that {w}.|Implement a function that {w}.|"
    "How do I write a Python function that {w}?|Define a Python function that {w}.|code: a function that {w}|"
    "Make a Python function that {w}.|a short Python function that {w}, please"
).split("|")  # fmt: skip
_ASK_KO = (
    "{w} 파이썬 함수를 써 줘|{w} 함수를 만들어 줘|{w} 파이썬 코드 알려줘|파이썬으로 {w} 함수를 작성해 주세요|{w} 함수|"
    "{w} 파이썬 함수 좀 보여줘|{w} 함수를 구현해 줘"
).split("|")  # fmt: skip


def source(function: Function, name: str, arguments: list[str]) -> str:
    """The function as Python text."""
    body = re.sub(r"\bF\b", name, function.body)
    for slot, argument in zip("AB", arguments, strict=False):
        body = re.sub(rf"\b{slot}\b", argument, body)
    return f"def {name}({', '.join(arguments)}):\n    {body}\n"


def plain(function: Function) -> str:
    """Under its first name, with its first arguments."""
    return source(function, function.names.split("|")[0], function.arguments.split("|")[0].split())


def varied(rng: random.Random, function: Function) -> str:
    name = rng.choice(function.names.split("|"))
    arguments = rng.choice(function.arguments.split("|")).split()
    if rng.random() < 0.55:
        fresh = list(dict.fromkeys(_argument(rng) for _ in arguments))
        arguments = fresh if len(fresh) == len(arguments) else arguments
    return source(function, name, arguments)


def _argument(rng: random.Random) -> str:
    """Any name that an argument may have: what makes the model copy it from the head."""
    one = rng.choice([words.word, words.invented, lambda rng: rng.choice(words.FILE_STEMS)])(rng)
    if rng.random() < 0.2:
        one += "_" + rng.choice([words.word(rng), words.word(rng), str(rng.randint(1, 9))])
    elif rng.random() < 0.15:
        one += rng.choice(["s", "s", "1", "2"])
    elif rng.random() < 0.1:
        one = one[0]
    return one if one not in _TAKEN and not keyword.iskeyword(one) else f"{one}_"


def code_pair(rng: random.Random, korean: bool) -> tuple[str, str]:
    """A wish for a function and the function, in a fenced block."""
    function = rng.choice(FUNCTIONS)
    names = function.arguments.split("|")[0].split()
    what = rng.choice((function.ko if korean and function.ko else function.what).split("|"))
    for slot, argument in zip("AB", names, strict=False):
        what = re.sub(rf"\b{slot}\b", argument, what)
    asked = fill(rng, rng.choice(_ASK_KO if korean else _ASK), korean, w=what)
    chosen = plain(function)
    if rng.random() < 0.25:
        name = rng.choice(function.names.split("|"))
        asked = f"{asked.rstrip('.?! ')} {'이름은' if korean else 'and call it'} {name}"
        chosen = source(function, name, names)
    return asked, f"```python\n{chosen}```"


_HEADERS = (
    "",
    "",
    "",
    '"""Helpers."""\n\n',
    "import os\n\n\n",
    "# math\n",
    "import math\n\n\n",
    "from __future__ import annotations\n\n\n",
)


def fim_text(rng: random.Random) -> list[tuple[str, bool]]:
    """One file with a hole in it."""
    function = rng.choice(FUNCTIONS)
    before = rng.choice(_HEADERS)
    after = ""
    if rng.random() < 0.3:
        before += varied(rng, rng.choice(FUNCTIONS)) + "\n\n"
    if rng.random() < 0.3:
        after = "\n\n" + varied(rng, rng.choice(FUNCTIONS))
    text = varied(rng, function)
    name = text[4 : text.index("(")]
    if rng.random() < 0.15:
        after = f"\n\nprint({name}({', '.join(str(rng.randint(1, 9)) for _ in text[: text.index(':')].split(','))}))\n"
    if rng.random() < 0.12:
        text = text.replace(
            "\n    ", f'\n    """{function.what.split("|")[0].capitalize()}."""\n    ', 1
        )
    start, end = _hole(rng, text)
    prefix, middle, suffix = before + text[:start], text[start:end], text[end:] + after
    if rng.random() < 0.2:
        suffix = suffix.rstrip("\n")
    asked = f"{FIM_PREFIX}{prefix}{FIM_SUFFIX}{suffix}{FIM_MIDDLE}"
    return [(asked, False), (middle + END, True)]


def _hole(rng: random.Random, text: str) -> tuple[int, int]:
    """Where the middle is: mostly the body or what follows `return`, sometimes any few words."""
    body = text.index(":\n") + 6
    kind = rng.random()
    if kind < 0.4:
        return body, len(text) - 1
    marks = [m.end() for m in re.finditer(r"return |= |if |in ", text[body:])]
    if kind < 0.75 and marks:
        start = body + rng.choice(marks)
        return start, text.index("\n", start)
    if kind < 0.85:
        return body - 5, len(text) - 1
    cuts = [m.start() for m in re.finditer(r"\b\w", text)] + [len(text) - 1]
    start, end = sorted(rng.sample(cuts, 2))
    return start, end


def completion_text(rng: random.Random) -> list[tuple[str, bool]]:
    """Plain code to go on with."""
    texts = [varied(rng, rng.choice(FUNCTIONS)) for _ in range(rng.randint(1, 3))]
    first = texts[-1].index("\n") + 1
    return [
        ("\n\n".join([*texts[:-1], ""]) + texts[-1][:first], False),
        (texts[-1][first:] + END, True),
    ]
