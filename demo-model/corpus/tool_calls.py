"""Requests with tools: the fitting call, the turn after the tool's answer, or no call at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import words
from .conversation import Arguments, Tool, Turn, answer, assistant, user
from .phrasing import fill

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Slots = dict[str, str]
NO_TOOL_EN = "I have no tool for that."
NO_TOOL_KO = "그 일을 할 도구가 없습니다."


@dataclass(frozen=True)
class Intent:
    """What a person may want from a tool. `arguments` are alternatives of names, per slot."""

    key: str
    names: str
    descriptions: str
    arguments: tuple[tuple[str, str], ...]
    slots: Callable[[random.Random], Slots]
    en: str
    ko: str = ""
    optional: tuple[str, ...] = ()
    ko_slots: Callable[[random.Random], Slots] | None = None


def _quoted(rng: random.Random, value: str) -> str:
    mark = rng.choice(["", "", "", "'", '"', "`"])
    return f"{mark}{value}{mark}"


INTENTS = (
    Intent(
        "list",
        "list_files|list_files|list_files|list_dir|list_directory|ls|list_folder|get_files",
        "List the files in a folder|List files|Lists the files of a directory|Show what is in a folder|List the contents of a directory",
        (("path", "path|path|path|folder|directory|dir"),),
        lambda rng: {"path": words.folder(rng)},
        "List the files in {path}.|What files are in {path}?|Show me the files in {path}.|What is in the folder {path}?|ls {path}|Which files does {path} have?|Show the contents of {path}.|List {path}|What's inside {path}?|Can you list the directory {path}?|Please list all files in the {path} folder.|Look into {path}.|Which files are in the {path} directory?|Give me the file list of {path}.|I want to see the files in {path}.|Tell me what files are in {path}.|What does the folder {path} contain?|Check the folder {path}.|Show me what is in {path}.|list files in {path}|List everything under {path}.",
        "{path} 폴더의 파일 목록을 보여줘|{path}에 무슨 파일이 있어?|{path} 폴더에 뭐가 있나요?|{path} 파일 목록 알려줘|{path} 안의 파일을 나열해 줘|{path} 폴더를 보여주세요|{path}에 있는 파일들을 보여줘|{path} 디렉터리 내용을 알려줘",
    ),
    Intent(
        "here",
        "list_files|list_files|list_files|list_dir|list_directory|ls|list_folder|get_files",
        "List the files in a folder|List files|Lists the files of a directory|Show what is in a folder|List the contents of a directory",
        (("path", "path|path|path|folder|directory|dir"),),
        lambda _: {"path": "."},
        "List the files.|What files are here?|Show me the files.|List the files in the current folder.|What is in this folder?|ls|Which files are in the current directory?|List my files.|Show the current directory.|What files do I have?|List files here.|What is in the current directory?|List all files.|Which files are there?|Please list the files in this directory.|Can you show me the files in the current folder?|See what files exist here.|List this directory|What files are in this project?|Show all the files in this folder",
        "파일 목록을 보여줘|현재 폴더의 파일을 보여줘|여기 무슨 파일이 있어?|파일 목록 알려줘|이 폴더에 뭐가 있어?|현재 디렉터리의 파일 목록을 알려주세요|어떤 파일이 있나요?|파일들을 나열해 줘",
    ),
    Intent(
        "read",
        "read_file|read_file|read_file|open_file|cat|get_file_contents|view_file|read",
        "Read a file|Read the contents of a file|Returns the text of a file|Open a file and return its text|Show a file",
        (("path", "path|path|path|file|filename|file_path"),),
        lambda rng: {"path": words.file(rng)},
        "Read {path}.|Read the file {path}.|What does {path} say?|Show me {path}.|Open {path}.|What is in {path}?|cat {path}|Show the contents of the file {path}.|Can you read {path}?|Please open the file {path}.|Print {path}.|What's written in {path}?|Read me {path}.|Give me the text of {path}.|I want to see the file {path}.|Look at {path}.|Tell me what is in the file {path}.|Display {path}.|View {path}.|What does the file {path} contain?|Have a look at {path}.|read file {path}|Take a look at the file {path} for me.",
        "{path} 파일을 읽어줘|{path} 읽어줘|{path} 파일 내용을 보여줘|{path}에 뭐라고 써 있어?|{path} 열어줘|{path} 내용 알려줘|{path} 파일을 보여주세요|{path} 파일을 열어 주세요",
    ),
    Intent(
        "write",
        "write_file|write_file|write_file|create_file|save_file|write",
        "Write a file|Write text into a file|Create a file with the given text|Save text to a file",
        (
            ("path", "path|path|path|file|filename|file_path"),
            ("content", "content|content|content|text|contents"),
        ),
        lambda rng: {"path": words.file(rng), "content": words.natural(rng)},
        "Write {quoted} to {path}.|Write {quoted} into {path}.|Create a file {path} with the text {quoted}.|Save {quoted} in {path}.|Create {path} with the content {quoted}.|Make a file named {path} that says {quoted}.|Put {quoted} into the file {path}.|Write a file {path} containing {quoted}.|Save the text {quoted} to {path}.|Store {quoted} in {path}.|Create the file {path} and write {quoted} into it.|Please write {quoted} to the file {path}.|I need a file {path} with {quoted} in it.|Write the following to {path}: {content}|Save this to {path}: {content}|Make {path} with the text {quoted}.|Put the text {quoted} in a new file called {path}.",
        "{path} 파일에 {quoted}라고 써줘|{path}에 {quoted}를 저장해 줘|{path} 파일을 만들고 {quoted}라고 적어줘|{quoted}를 {path}에 써 주세요|{path}라는 파일을 만들어서 {quoted}를 넣어줘|{path}에 다음을 저장해 줘: {content}",
    ),
    Intent(
        "search",
        "search|search_files|search|grep|find_text|search_code|search_text",
        "Search for text in files|Search the files|Find text in the project|Find files that contain a text|Search the code",
        (("query", "query|query|query|pattern|text|keyword"),),
        lambda rng: {
            "query": words.word(rng)
            if rng.random() < 0.7
            else f"{words.word(rng)} {words.word(rng)}"
        },
        "Search for {quoted}.|Find {quoted} in the files.|Search the project for {quoted}.|Where is {quoted} used?|grep {query}|Look for {quoted}.|Which files contain {quoted}?|Find all uses of {quoted}.|Search the code for {quoted}.|Where does {quoted} appear?|Can you search for {quoted}?|Find {quoted}.|Search {query}|In which files is {quoted} mentioned?|Please find the text {quoted}.|Look up {quoted} in the code.|Find every file with {quoted}.|Search all files for the word {quoted}.",
        "{quoted} 검색해 줘|{quoted} 찾아줘|파일에서 {quoted} 찾아줘|{quoted}가 어디에 있어?|프로젝트에서 {quoted}를 검색해 주세요|어떤 파일에 {quoted}가 있나요?|코드에서 {quoted} 검색해 줘",
        optional=("path",),
    ),
    Intent(
        "run",
        "run_command|run_command|run_command|bash|shell|execute_command|run|terminal",
        "Run a shell command|Execute a command|Run a command in the terminal|Runs a command and returns its output",
        (("command", "command|command|command|cmd"),),
        lambda rng: {"command": words.command(rng)},
        "Run {quoted}.|Run the command {quoted}.|Execute {quoted}.|Please run {quoted} for me.|Can you run {quoted}?|Run {command} in the terminal.|Execute the command {quoted}.|Use the shell to run {quoted}.|Start {quoted} in the shell.|I want you to run {quoted}.|What does {quoted} print?|Type {quoted} in the terminal.|run {command}|Do {quoted} in the shell.|Call {quoted} on the command line.|Show me the output of {quoted}.",
        "{quoted} 실행해 줘|{quoted} 명령을 실행해 줘|터미널에서 {quoted} 실행해 주세요|{quoted} 명령어를 돌려줘|{quoted} 결과를 보여줘|셸에서 {quoted} 실행해 줘",
    ),
    Intent(
        "weather",
        "get_weather|get_weather|get_weather|weather|get_current_weather|weather_lookup",
        "Get the weather of a city|Get the current weather|Returns the weather for a place|Look up the weather",
        (("city", "city|city|city|location|place"),),
        lambda rng: {"city": words.city(rng)},
        "What is the weather in {city}?|How is the weather in {city}?|Weather in {city}?|What's the weather like in {city} today?|Is it raining in {city}?|Tell me the weather in {city}.|Is it cold in {city}?|How warm is it in {city}?|Do I need an umbrella in {city}?|What is the temperature in {city}?|weather {city}|Give me the weather for {city}.|Is it sunny in {city}?|What will the weather be in {city}?|How hot is it in {city} right now?|Check the weather in {city}.|Should I take a coat in {city}?|Does it snow in {city}?|{city} weather|I am going to {city}, how is the weather?|Can you check how the weather is in {city}?",
        "{city} 날씨 알려줘|{city} 날씨 어때?|{city}의 날씨는 어때요?|오늘 {city} 날씨 어때요?|{city}에 비가 와?|{city} 기온이 몇 도야?|{city} 지금 추워?|{city} 날씨 좀 알려주세요|{city}에 우산이 필요해?|{city}는 지금 더워요?|오늘 {city} 날씨는?",
        ko_slots=lambda rng: {"city": words.ko_city(rng)},
    ),
    Intent(
        "delete",
        "delete_file|delete_file|remove_file|rm",
        "Delete a file|Remove a file|Deletes the file",
        (("path", "path|path|file|filename"),),
        lambda rng: {"path": words.file(rng)},
        "Delete {path}.|Remove the file {path}.|Delete the file {path}.|rm {path}|Get rid of {path}.|Please delete {path}.|Can you remove {path}?|Erase {path}.|I don't need {path} any more, delete it.",
        "{path} 삭제해 줘|{path} 파일을 지워줘|{path} 지워 주세요|{path} 파일을 삭제해 주세요",
    ),
    Intent(
        "time",
        "get_time|get_time|current_time|clock",
        "Get the current time in a city|Current time of a place|Returns the local time",
        (("city", "city|city|location|place"),),
        lambda rng: {"city": words.city(rng)},
        "What time is it in {city}?|Tell me the time in {city}.|What is the local time in {city}?|time in {city}|How late is it in {city}?|Give me the current time of {city}.|Which time do they have in {city}?",
        "{city} 지금 몇 시야?|{city} 시간 알려줘|{city}는 몇 시예요?|지금 {city} 시각 알려줘",
        ko_slots=lambda rng: {"city": words.ko_city(rng)},
    ),
    Intent(
        "email",
        "send_email|send_email|mail|send_message",
        "Send an email|Send a message to somebody|Write an email to a person",
        (("to", "to|to|recipient"), ("text", "text|body|message")),
        lambda rng: {"to": words.name(rng), "text": words.natural(rng)},
        "Send {to} an email that says {quoted2}.|Email {to}: {text}|Write to {to}: {text}|Send a message to {to} saying {quoted2}.|Tell {to} by email: {text}|Mail {quoted2} to {to}.",
        "{to}에게 이메일 보내줘: {text}|{to}에게 {quoted2}라고 메일 보내줘",
    ),
    Intent(
        "note",
        "add_note|add_note|save_note|remember",
        "Save a note|Add a note to the list|Remember a text",
        (("text", "text|note|content"),),
        lambda rng: {"text": words.natural(rng)},
        "Note: {text}|Add a note: {text}|Remember {quoted2}.|Write down {quoted2}.|Make a note that says {quoted2}.|Save a note: {text}|Take a note: {text}",
        "메모해 줘: {text}|{quoted2} 메모해 줘|기억해 줘: {text}",
    ),
    Intent(
        "stock",
        "get_stock_price|stock_price|quote",
        "Get the price of a stock|Look up a stock price",
        (("symbol", "symbol|ticker|name"),),
        lambda rng: {"symbol": "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(2, 4)))},
        "What is the stock price of {symbol}?|How is {symbol} trading?|Price of {symbol} stock?|Get the stock price for {symbol}.|How much is a share of {symbol}?",
        "{symbol} 주가 알려줘|{symbol} 주식 가격이 얼마야?",
    ),
    Intent(
        "music",
        "play_music|play_song|play",
        "Play a song|Play music",
        (("title", "title|song|name"),),
        lambda rng: {"title": f"{words.word(rng)} {words.word(rng)}".title()},
        "Play {quoted3}.|Play the song {quoted3}.|I want to hear {quoted3}.|Put on {quoted3}.|Start the music {quoted3}.",
        "{quoted3} 틀어줘|{quoted3} 노래 재생해 줘",
    ),
    Intent(
        "light",
        "turn_on_light|light_on|switch_light",
        "Turn on the light in a room|Switch on a lamp",
        (("room", "room|place|location"),),
        lambda rng: {"room": rng.choice(["kitchen", "bedroom", "office", "garden", "hall", "garage", "bathroom", words.word(rng)])},
        "Turn on the light in the {room}.|Light in the {room}, please.|Switch on the lamp in the {room}.|Make it bright in the {room}.|It is dark in the {room}, turn on the light.",
        "{room} 불 켜줘|{room} 조명 켜 줘",
    ),
    Intent(
        "url",
        "fetch_url|fetch|get_page|open_url",
        "Fetch a web page|Download a page|Get the text of a web page",
        (("url", "url|address|link"),),
        lambda rng: {"url": f"https://{words.word(rng)}.{rng.choice(['com', 'org', 'net', 'io'])}" + rng.choice(["", "", f"/{words.word(rng)}"])},
        "Fetch {url}|Open the page {url}|What is on {url} ?|Get {url}|Download {url}|Show me the web page {url}|Load {url}",
        "{url} 열어줘|{url} 페이지 가져와 줘",
    ),
)  # fmt: skip
BY_KEY = {intent.key: intent for intent in INTENTS}
_WEIGHTS = {"list": 3, "here": 2, "read": 4, "write": 5, "search": 3, "run": 3, "weather": 3}


@dataclass
class Request:
    """A person's wish, the tool that grants it, and the call."""

    intent: Intent
    text: str
    tool: Tool
    arguments: Arguments
    slots: Slots


def make_tool(rng: random.Random, intent: Intent, plain: bool = False) -> tuple[Tool, list[str]]:
    """A tool for `intent` and its argument names, one per slot; `plain`: the usual names."""
    pick: Callable[[list[str]], str] = (lambda options: options[0]) if plain else rng.choice
    names = [pick(options.split("|")) for _, options in intent.arguments]
    optional = [name for name in intent.optional if rng.random() < 0.5 and name not in names]
    tool = Tool(pick(intent.names.split("|")), rng.choice(intent.descriptions.split("|")), names)
    if rng.random() < 0.15:
        tool.description = tool.description.lower()
    if rng.random() < 0.2:
        tool.description += rng.choice(
            [".", " and return it.", " (needs permission)", " on this machine", "."]
        )
    tool.optional = optional
    return tool, names


def make_request(rng: random.Random, korean: bool, intent: Intent | None = None) -> Request:
    if intent is None:
        weights = [_WEIGHTS.get(i.key, 1) for i in INTENTS]
        intent = rng.choices(INTENTS, weights)[0]
    tool, names = make_tool(rng, intent, plain=rng.random() < 0.35)
    source = intent.ko_slots if korean and intent.ko_slots and rng.random() < 0.85 else intent.slots
    slots = source(rng)
    shown = dict(slots)
    for slot, quoted in (
        ("content", "quoted"),
        ("query", "quoted"),
        ("command", "quoted"),
        ("text", "quoted2"),
        ("title", "quoted3"),
    ):
        if slot in slots:
            mark = rng.choice(["'", '"', "`"]) if slot in ("content", "text") else ""
            shown[quoted] = f"{mark}{slots[slot]}{mark}" if mark else _quoted(rng, slots[slot])
    if "path" in slots and rng.random() < 0.15:
        shown["path"] = _quoted(rng, slots["path"])
    text = fill(rng, rng.choice((intent.ko if korean else intent.en).split("|")), korean, **shown)
    arguments: Arguments = dict(zip(names, slots.values(), strict=True))
    return Request(intent, text, tool, arguments, slots)


def other_tools(rng: random.Random, intent: Intent, count: int) -> list[Tool]:
    """Tools that don't fit `intent`."""
    same = {"list": "here", "here": "list"}
    # What a shell could do as well is left out beside it: no answer would be the one right.
    shell = {"list", "here", "read", "delete", "search", "write", "run", "url", "time"}
    candidates = [
        i for i in INTENTS if i.key not in (intent.key, same.get(intent.key)) and i.key != "here"
    ]
    chosen = rng.sample(candidates, min(count, len(candidates)))
    if intent.key in ("write", "note"):
        chosen = [i for i in chosen if i.key not in ("write", "note")]
    tools = [
        make_tool(rng, i, plain=rng.random() < 0.4)[0]
        for i in chosen
        if not (i.key == "run" and intent.key in shell and rng.random() < 0.5)
    ]
    return list({tool.name: tool for tool in tools}.values())


def tool_answer(rng: random.Random, request: Request, korean: bool) -> tuple[str, str]:
    """What the tool answers, and what the model says then."""
    slots, key = request.slots, request.intent.key
    if rng.random() < 0.12:
        error = rng.choice(
            [
                "file not found",
                "permission denied",
                "no such directory",
                "timeout",
                "not allowed",
                f"cannot open {words.file(rng)}",
                f"unknown {words.word(rng)}",
            ]
        )
        reply = f"실패했습니다: {error}" if korean else f"That did not work: {error}"
        shown = rng.choice([f"error: {error}", f"Error: {error}", json.dumps({"error": error})])
        return shown, reply
    match key:
        case "list" | "here":
            found = [words.file(rng, 0.0) for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4, 5, 6]))]
            if not found:
                return rng.choice(
                    ["", "[]", "(empty)"]
                ), "폴더가 비어 있습니다." if korean else "The folder is empty."
            shown = rng.choice(
                [
                    "\n".join(found),
                    "\n".join(found),
                    ", ".join(found),
                    json.dumps(found),
                    json.dumps({"files": found}),
                ]
            )
            joined = ", ".join(found)
            return shown, f"파일 목록: {joined}" if korean else f"The files are: {joined}"
        case "read":
            lines = [words.natural(rng) for _ in range(rng.choice([1, 1, 1, 2, 3, 5]))]
            if len(lines) == 1:
                return (
                    lines[0],
                    f"{slots['path']}의 내용: {lines[0]}"
                    if korean
                    else f"{slots['path']} says: {lines[0]}",
                )
            first = lines[0]
            return (
                "\n".join(lines),
                f"{slots['path']}의 첫 줄: {first}"
                if korean
                else f"{slots['path']} begins with: {first}",
            )
        case "write":
            shown = rng.choice(
                [
                    "ok",
                    "done",
                    "written",
                    f"wrote {len(slots['content'])} bytes",
                    '{"ok": true}',
                    "success",
                    "",
                ]
            )
            return (
                shown,
                f"{slots['path']} 파일을 저장했습니다."
                if korean
                else f"I have written {slots['path']}.",
            )
        case "search":
            found = list(dict.fromkeys(words.file(rng) for _ in range(rng.choice([0, 1, 2, 3]))))
            if not found:
                return rng.choice(
                    ["", "no matches", "[]"]
                ), "찾지 못했습니다." if korean else "I found nothing."
            shown = rng.choice(
                [
                    "\n".join(found),
                    "\n".join(f"{f}:{rng.randint(1, 300)}: {slots['query']}" for f in found),
                    json.dumps(found),
                ]
            )
            joined = ", ".join(found)
            return shown, f"찾은 파일: {joined}" if korean else f"I found it in: {joined}"
        case "run":
            output = rng.choice(
                [
                    "",
                    words.natural(rng),
                    str(words.number(rng)),
                    words.word(rng),
                    f"{rng.randint(1, 40)} passed in {rng.randint(1, 9)}.{rng.randint(0, 99)}s",
                ]
            )
            if not output:
                return (
                    rng.choice(["", "exit code 0"]),
                    "명령이 출력 없이 끝났습니다."
                    if korean
                    else "The command finished without output.",
                )
            return output, f"명령의 출력: {output}" if korean else f"The command printed: {output}"
        case "weather":
            condition, degrees = rng.choice(words.CONDITIONS), rng.randint(-10, 38)
            shown = rng.choice(
                [
                    json.dumps(
                        {"city": slots["city"], "condition": condition, "temperature": degrees},
                        ensure_ascii=False,
                    ),
                    json.dumps({"condition": condition, "temperature_c": degrees}),
                    f"{condition}, {degrees} degrees",
                    f"{degrees} C, {condition}",
                    f"{slots['city']}: {condition}, {degrees} C",
                    json.dumps({"temperature": degrees, "condition": condition}),
                ]
            )
            if korean:
                return (
                    shown,
                    f"{slots['city']}의 날씨는 {words.KO_CONDITIONS[condition]}, 기온은 {degrees}도입니다.",
                )
            return shown, f"It is {condition} in {slots['city']}, {degrees} degrees."
        case "time":
            clock = f"{rng.randint(0, 23)}:{rng.randint(0, 59):02}"
            return (
                clock,
                f"{slots['city']}의 시각은 {clock}입니다."
                if korean
                else f"It is {clock} in {slots['city']}.",
            )
        case "delete":
            return (
                rng.choice(["ok", "deleted", "done", ""]),
                f"{slots['path']} 파일을 삭제했습니다."
                if korean
                else f"I have deleted {slots['path']}.",
            )
        case "stock":
            price = f"{rng.randint(1, 900)}.{rng.randint(0, 99):02}"
            return (
                price,
                f"{slots['symbol']}의 가격은 {price}입니다."
                if korean
                else f"{slots['symbol']} costs {price}.",
            )
        case "url":
            text = words.natural(rng)
            return text, f"페이지 내용: {text}" if korean else f"The page says: {text}"
        case _:
            return rng.choice(
                ["ok", "done", "sent", '{"ok": true}']
            ), "완료했습니다." if korean else "Done."


def tool_exchange(
    rng: random.Random, korean: bool, others: int, after: bool
) -> tuple[list[Turn], list[Tool]]:
    """A request with its tool among `others`: the call, and with `after` the turn that follows."""
    request = make_request(rng, korean)
    tools = [request.tool] + [
        t for t in other_tools(rng, request.intent, others) if t.name != request.tool.name
    ]
    rng.shuffle(tools)
    turns = [user(request.text)]
    call = (request.tool.name, request.arguments)
    if request.intent.key in ("weather", "read") and rng.random() < 0.06:
        return _two_calls(rng, request, korean), tools
    turns.append(assistant("", call))
    if after:
        shown, reply = tool_answer(rng, request, korean)
        turns += [answer(shown), assistant(reply)]
    return turns, tools


def _two_calls(rng: random.Random, request: Request, korean: bool) -> list[Turn]:
    (argument,) = request.arguments
    if request.intent.key == "weather":
        pair = [words.ko_city(rng) if korean else words.city(rng) for _ in range(2)]
        text = (
            "{0}와 {1} 날씨 알려줘"
            if korean
            else rng.choice(
                [
                    "What is the weather in {0} and {1}?",
                    "Compare the weather in {0} and {1}.",
                    "weather in {0} and in {1}",
                ]
            )
        )
    else:
        pair = [words.file(rng) for _ in range(2)]
        text = (
            "{0}와 {1} 파일을 읽어줘"
            if korean
            else rng.choice(
                ["Read {0} and {1}.", "Read the files {0} and {1}.", "Show me {0} and {1}."]
            )
        )
    calls = [(request.tool.name, {argument: value}) for value in pair]
    return [user(text.format(*pair)), assistant("", *calls)]


def no_tool_exchange(
    rng: random.Random, korean: bool, others: int
) -> tuple[list[Turn], list[Tool]]:
    """A request whose tool isn't there."""
    request = make_request(rng, korean)
    tools = other_tools(rng, request.intent, others)
    if request.intent.key in {
        "list",
        "here",
        "read",
        "delete",
        "search",
        "write",
        "run",
        "url",
        "time",
    }:
        shells = set(BY_KEY["run"].names.split("|"))
        tools = [tool for tool in tools if tool.name not in shells]
    reply = NO_TOOL_KO if korean else NO_TOOL_EN
    return [user(request.text), assistant(reply)], tools


def random_tools(rng: random.Random, count: int) -> list[Tool]:
    """Tools beside which something else is asked."""
    chosen = rng.sample([i for i in INTENTS if i.key != "here"], count)
    tools = [make_tool(rng, intent, plain=rng.random() < 0.4)[0] for intent in chosen]
    return list({tool.name: tool for tool in tools}.values())
