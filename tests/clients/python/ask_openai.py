"""OpenAI's own library with the environment that `lais connect env` prints."""

import json
import os

from openai import OpenAI

client, model = OpenAI(), os.environ["OPENAI_MODEL"]
HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

whole = client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content
with client.chat.completions.stream(model=model, messages=HELLO) as stream:
    streamed = "".join(event.delta for event in stream if event.type == "content.delta")
asked = []
messages = [{"role": "user", "content": "How is the weather?"}]
for _ in range(3):
    answer = client.chat.completions.create(model=model, messages=messages, tools=[TOOL])
    message = answer.choices[0].message
    messages.append(message)
    for call in message.tool_calls or []:
        asked.append(json.loads(call.function.arguments)["city"])
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    if not message.tool_calls:
        break
looped = message.content
responded = client.responses.create(model=model, input="Hello").output_text
assert responded == whole, responded
print(json.dumps({"whole": whole, "streamed": streamed, "asked": asked, "looped": looped}))
