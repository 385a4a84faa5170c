"""The surface of the core's client, with a minimal agent loop."""

from __future__ import annotations

from typing import Any

from ... import FallbackClient, FallbackConfig
from . import FOUND, MOST_TURNS, TOOL, Seamed, SurfaceAnswer

_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Find what a word means.",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
        },
    }
]


class CoreSurface:
    """`FallbackClient`."""

    def __init__(self, config: FallbackConfig) -> None:
        self.client = FallbackClient(config=config)

    def chat(self, prompt: str) -> SurfaceAnswer:
        """Make a call that is not streamed."""
        return SurfaceAnswer(self.client.chat(prompt).text)

    def stream(self, prompt: str) -> SurfaceAnswer:
        """Make a streamed call, and read the stream to its end."""
        with self.client.stream(prompt) as stream:
            text = "".join(piece.text for piece in stream)
            seams = tuple(Seamed(seam.offset, seam.before, seam.after, seam.how) for seam in stream.completion.seams)
        return SurfaceAnswer(text, seams=seams)

    def agent(self, prompt: str) -> SurfaceAnswer:
        """Run the tools that the model calls, until the model answers with a text."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        looked_up: list[str] = []
        for _ in range(MOST_TURNS):
            answer = self.client.chat(messages, tools=_TOOLS)
            messages.append(answer.message)
            if not answer.tool_calls:
                return SurfaceAnswer(answer.text, tuple(looked_up))
            for call in answer.tool_calls:
                looked_up.append(str(call.arguments.get("word")))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": FOUND})
        return SurfaceAnswer("", tuple(looked_up))

    def close(self) -> None:
        """Close idle connections."""
        self.client.close()


def open_surface(config: FallbackConfig) -> CoreSurface:
    """A new surface with this configuration."""
    return CoreSurface(config)
