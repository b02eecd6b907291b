"""The clients of the tier."""

# client -> the package whose version counts; those of PyPI with their environment.
PACKAGES = {
    "aider": ("aider-chat", "aider"),
    "ai-sdk": ("ai", ""),
    "claude-code": ("@anthropic-ai/claude-code", ""),
    "cline": ("cline", ""),
    "codex": ("@openai/codex", ""),
    "continue": ("@continuedev/cli", ""),
    "copilot-cli": ("@github/copilot", ""),
    "langchain": ("langchain-openai", "llm"),
    "llamaindex": ("llama-index-llms-openai-like", "llamaindex"),
    "llm": ("llm", "llm"),
    "openai-js": ("openai", ""),
    "openai-python": ("openai", "llm"),
    "opencode": ("opencode-ai", ""),
    "qwen-code": ("@qwen-code/qwen-code", ""),
}
