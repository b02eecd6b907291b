"""LlamaIndex's OpenAILike with the environment that `lais connect env` prints."""

import asyncio
import json
import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

asked = []


def get_weather(city: str) -> str:
    """The weather of a city."""
    asked.append(city)
    return "sunny"


llm = OpenAILike(
    model=os.environ["OPENAI_MODEL"],
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    is_chat_model=True,
    is_function_calling_model=True,
)


async def loop() -> str:
    agent = FunctionAgent(tools=[get_weather], llm=llm)
    return str(await agent.run("How is the weather?"))


whole = str(llm.complete("Hello"))
streamed = "".join(piece.delta or "" for piece in llm.stream_complete("Hello"))
looped = asyncio.run(loop())
print(json.dumps({"whole": whole, "streamed": streamed, "asked": asked, "looped": looped}))
