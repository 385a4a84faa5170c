"""A redirect is not followed: the error names where it leads, and models of other endpoints are still called."""

from __future__ import annotations

import pytest

from openrouter_fallback import (
    EndpointConfig,
    FallbackClient,
    FallbackConfig,
    FallbackError,
    InvalidRequestError,
)

from ..support.byteserver import ByteServer, body, plain, reply

KEY = "sk-or-v1-test"
MOVED = "location: https://user:secret@new.example/api/v1/chat/completions?token=secret#x\r\n"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_it_names_the_place_and_what_to_do(status: str) -> None:
    with (
        ByteServer(lambda _: [plain(b"", status=status, headers=MOVED)]) as server,
        FallbackClient(["a/a", "b/b"], base_url=server.base_url, api_key=KEY) as client,
    ):
        with pytest.raises(InvalidRequestError) as caught:
            client.chat("one")
        assert len(server.requests) == 1, "the other model has the same base_url"
    text = str(caught.value)
    assert "redirected to https://new.example/api/v1/chat/completions" in text
    assert "Set base_url of the endpoint openrouter" in text
    assert "secret" not in text


def test_models_of_other_endpoints_are_called() -> None:
    with (
        ByteServer(lambda _: [plain(b"", status="308 Permanent", headers=MOVED)]) as moved,
        ByteServer(lambda asked: [plain(body(asked.nonce))]) as server,
    ):
        config = FallbackConfig(
            default_chain=("a/a", "b/b", "other:c"),
            endpoints={"openrouter": EndpointConfig(moved.base_url), "other": EndpointConfig(server.base_url)},
        )
        with FallbackClient(config=config, api_key=KEY) as client:
            answer = client.chat("one")
        assert answer.text == reply("one")
        assert [attempt.model for attempt in answer.attempts] == ["a/a", "other:c"]
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("location", ["", "location: //[bad\r\n", "location: /elsewhere\r\n"])
def test_any_location(location: str) -> None:
    with (
        ByteServer(lambda _: [plain(b"", status="302 Found", headers=location)]) as server,
        FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client,
        pytest.raises(FallbackError, match="redirected to"),
    ):
        client.chat("one")


def test_an_encoded_key_in_the_location_is_masked() -> None:
    hidden = "".join(f"%{ord(letter):02x}" for letter in KEY)
    with (
        ByteServer(lambda _: [plain(b"", status="302 Found", headers=f"location: /{hidden}/v1\r\n")]) as server,
        FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client,
        pytest.raises(FallbackError, match=r"redirected to /\*+/v1"),
    ):
        client.chat("one")
