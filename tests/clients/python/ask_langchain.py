"""LangChain with the environment that `lais connect env` prints: text, stream, a tool loop."""

import json
import os

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

asked = []


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    asked.append(city)
    return "sunny"


model = ChatOpenAI(model=os.environ["OPENAI_MODEL"])
whole = model.invoke("Hello").content
streamed = "".join(str(chunk.content) for chunk in model.stream("Hello"))
able = model.bind_tools([get_weather])
messages = [HumanMessage("How is the weather?")]
answer = able.invoke(messages)
messages.append(answer)
messages += [
    ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    for call in answer.tool_calls
]
looped = able.invoke(messages).content
print(json.dumps({"whole": whole, "streamed": streamed, "asked": asked, "looped": looped}))
