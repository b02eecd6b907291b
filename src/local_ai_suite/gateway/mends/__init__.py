"""Where llama.cpp's server falls short of the protocol: each mend a small, named, pure transform.

How the relay uses them. ``route`` is the path with ``/v1`` as the engine knows it
(``/v1/chat/completions`` also for a request to ``/chat/completions``), or Ollama's ``/api/chat``,
``/api/generate``, ``/api/embed``::

    plan = mends.plan(route, body, Target(public="gpt-4o", engine="local-chat"))

    None       Nothing to mend: pass the bytes on, both ways. Almost every request; the body was
               searched for a few byte strings and not parsed.
    Reply      Answer ``status`` and ``body`` (application/json); ask the engine nothing.
    Mend       Send ``plan.body`` to ``plan.path`` instead. Of a 200 answer
               - with text/event-stream: ``t = plan.stream()``; send ``t.feed(chunk)`` for every
                 chunk, then ``t.finish()``; content type ``plan.stream_type``;
               - with anything else: read it whole and send ``plan.answer(body)``, with a new
                 content length.

Whatever the plan was, an answer of 400 or more is read whole and goes through
``status, body = mends.mend_error(route, status, body)``, which gives it the envelope of the API
that was called, and a context overflow its code and both numbers.

When a stream has begun and the upstream dies, send ``t.fail(error)`` if there is a transform, else
``mends.fail_event(route, error)``: the API's own error event. ``error`` is OpenAI's inner object.
"""

from __future__ import annotations

from .plan import EVENT_STREAM, Mend, Reply, Stream, Target
from .registry import fail_event, mend_error, plan

__all__ = [
    "EVENT_STREAM",
    "Mend",
    "Reply",
    "Stream",
    "Target",
    "fail_event",
    "mend_error",
    "plan",
]
