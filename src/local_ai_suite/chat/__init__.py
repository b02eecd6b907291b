"""The terminal assistant: choosing a model, files in the prompt, history, git, issues.

Nothing here prints; ``cli/ai*.py`` does.
"""
