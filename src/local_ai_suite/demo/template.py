"""The chat templates of the demo models: Qwen2.5's form, which llama.cpp's parser knows.

The history of a conversation is rendered the same way for both models; they differ in how the
assistant's turn is opened.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SYSTEM = r"""
{%- if messages[0].role in ['system', 'developer'] %}
    {%- set system = messages[0].content %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
"""

# Every definition in full, as coding clients expect to pay for it.
_FULL_TOOLS = r"""
{%- if tools or system %}
    {{- '<|im_start|>system\n' + system }}
    {%- if tools %}
        {{- '\n\n# Tools\n<tools>' }}
        {%- for tool in tools %}
            {{- '\n' }}
            {{- tool | tojson }}
        {%- endfor %}
        {{- '\n</tools>\nCall a tool as <tool_call>\n' }}
        {{- '{"name": "...", "arguments": {...}}\n</tool_call>' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
"""

# One line a tool, `name(argument, optional?): description`: what a very small model can read.
_SHORT_TOOLS = r"""
{%- if tools or system %}
    {{- '<|im_start|>system\n' + system }}
    {%- if tools %}
        {{- ('\n\n' if system else '') + '# Tools' }}
        {%- for tool in tools %}
            {%- set function = tool.function or tool %}
            {%- set parameters = function.parameters or {} %}
            {{- '\n' + function.name + '(' }}
            {%- for name in (parameters.properties or {}).keys() %}
                {{- name }}
                {%- if name not in (parameters.required or []) %}
                    {{- '?' }}
                {%- endif %}
                {%- if not loop.last %}
                    {{- ', ' }}
                {%- endif %}
            {%- endfor %}
            {{- '): ' + ((function.description or '').split('\n')[0])[:100] }}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
"""

_HISTORY = r"""
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role in ['system', 'developer'] and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls or [] %}
            {%- if tool_call.function %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\n<tool_call>\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
"""

_OPENING = r"""
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

_SCRIPT = r"""
{%- if add_generation_prompt %}
    {%- set ns = namespace(steps=none, turn=0, say=default, known=true) %}
    {%- for message in messages %}
        {%- if message.role == 'user' %}
            {%- set found = namespace(steps=none) %}
            {%- for rule in rules %}
                {%- if found.steps is none and rule[0] in (message.content | string) %}
                    {%- set found.steps = rule[1] %}
                {%- endif %}
            {%- endfor %}
            {%- set reminder = not loop.first and messages[loop.index0 - 1].role == 'tool' %}
            {%- if found.steps is not none or not reminder %}
                {%- set ns.steps = found.steps %}
                {%- set ns.turn = 0 %}
            {%- endif %}
        {%- elif message.role == 'assistant' %}
            {%- set ns.turn = ns.turn + 1 %}
        {%- endif %}
    {%- endfor %}
    {%- if ns.steps %}
        {%- set step = ns.steps[[ns.turn, (ns.steps | length) - 1] | min] %}
        {%- for needed in step[1] %}
            {%- set offered = namespace(yes=false) %}
            {%- for tool in tools or [] %}
                {%- if (tool.function or tool).name == needed %}
                    {%- set offered.yes = true %}
                {%- endif %}
            {%- endfor %}
            {%- if not offered.yes %}
                {%- set ns.known = false %}
            {%- endif %}
        {%- endfor %}
        {%- if ns.known %}
            {%- set ns.say = step[0] %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>assistant\n' + ns.say }}
{%- endif %}
"""


def chat_template() -> str:
    """The trained model's template: system, tools, tool answers, generation prompt."""
    return _joined(_SYSTEM, _SHORT_TOOLS, _HISTORY, _OPENING)


def scripted_template(
    rules: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]], default: str
) -> str:
    """The scripted model's template.

    `rules` are (trigger, [(control token of a step, tools that the step calls)]); `default` is the
    control token that follows when no rule fits. A user message that comes right after a tool's
    answer and holds no trigger (clients add reminders there) does not begin anew.
    """
    literal = json.dumps(rules, ensure_ascii=False)  # JSON's lists and strings are Jinja's too
    head = f"{{%- set rules = {literal} %}}\n{{%- set default = {json.dumps(default)} %}}\n"
    return head + _joined(_SYSTEM, _FULL_TOOLS, _HISTORY, _SCRIPT)


def _joined(*parts: str) -> str:
    return "\n".join(part.strip() for part in parts)
