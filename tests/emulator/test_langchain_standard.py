"""LangChain's own standard tests, with LangChain's own OpenRouter model, against the emulator."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_openrouter import ChatOpenRouter
from langchain_tests.integration_tests import ChatModelIntegrationTests

from openrouter_fallback.emulator import MODELS, Emulator

# The SDK beneath closes no connection.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]

# It reads images, files and audio.
GEMINI = "google/gemini-2.5-pro"


class TestChatOpenRouter(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _emulated(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with Emulator(models=MODELS) as emulator:
            monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
            monkeypatch.setenv("OPENROUTER_API_BASE", emulator.base_url)
            # The suite fetches its images and sounds from the world outside.
            monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=b"a file"))
            encoded = base64.b64encode(b"a file").decode()
            monkeypatch.setattr("langchain_tests.integration_tests.chat_models._get_base64_from_url", lambda _: encoded)
            yield

    @property
    def chat_model_class(self) -> type[ChatOpenRouter]:
        return ChatOpenRouter

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": GEMINI}

    @property
    def model_override_value(self) -> str:
        return "google/gemini-2.5-flash"

    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    # It sends a tool's image or file in LangChain's words, which OpenRouter refuses, and so do we.
    supports_image_tool_message = False
    supports_pdf_tool_message = False
