"""The core's own client, and the smallest agent over it."""

from __future__ import annotations

from typing import Any

from ... import FallbackClient, FallbackConfig
from . import FOUND, MOST_TURNS, TOOL, Said, Seamed

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

    def chat(self, prompt: str) -> Said:
        """Ask for a whole answer."""
        return Said(self.client.chat(prompt).text)

    def stream(self, prompt: str) -> Said:
        """Ask for a stream, and read it to its end."""
        with self.client.stream(prompt) as stream:
            text = "".join(piece.text for piece in stream)
            seams = tuple(Seamed(seam.offset, seam.before, seam.after, seam.how) for seam in stream.completion.seams)
        return Said(text, seams=seams)

    def agent(self, prompt: str) -> Said:
        """Call tools until there is an answer in words."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
        looked_up: list[str] = []
        for _ in range(MOST_TURNS):
            answer = self.client.chat(messages, tools=_TOOLS)
            messages.append(answer.message)
            if not answer.tool_calls:
                return Said(answer.text, tuple(looked_up))
            for call in answer.tool_calls:
                looked_up.append(str(call.arguments.get("word")))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": FOUND})
        return Said("", tuple(looked_up))

    def close(self) -> None:
        """Close idle connections."""
        self.client.close()


def open_surface(config: FallbackConfig) -> CoreSurface:
    """A new one."""
    return CoreSurface(config)
