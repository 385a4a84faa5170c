"""Histories for strict mode, written by hand: each wrong one with the rule that it breaks and the provider's words."""

# ruff: noqa: E501 a row is a line

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

CLAUDE, CLAUDE_46 = "anthropic/claude-sonnet-4.5", "anthropic/claude-opus-4.6"
GPT, GROK = "openai/gpt-5.1", "x-ai/grok-4"
GEMINI_3, GEMINI_2 = "google/gemini-3-pro-preview", "google/gemini-2.5-pro"
MISTRAL, MAGISTRAL = "mistralai/mistral-large-2512", "mistralai/magistral-medium-2506"
KIMI, KIMI_THINKING = "moonshotai/kimi-k2-0905", "moonshotai/kimi-k2-thinking"
DEEPSEEK, R1 = "deepseek/deepseek-v3.2", "deepseek/deepseek-r1-0528"
QWEN, LLAMA, COMMAND = "qwen/qwen3-max", "meta-llama/llama-3.3-70b-instruct", "cohere/command-a"

ASKED: Json = {"role": "user", "content": "Why?"}
SAID: Json = {"role": "assistant", "content": "Because."}
EMPTY: Json = {"role": "assistant", "content": ""}
REASON: Json = {"reasoning": {"effort": "low"}}
ENCRYPTED: Json = {"type": "reasoning.encrypted", "data": "Zm9yZWlnbg==", "format": "openai-responses-v1", "index": 0}
SKIP: Json = {**ENCRYPTED, "data": "skip_thought_signature_validator", "format": "google-gemini-v1"}
PLAIN: Json = {"type": "reasoning.text", "text": "Hm.", "format": "unknown", "index": 0}


def calls(*ids: str, name: str = "f", arguments: str = "{}", **more: Any) -> Json:
    made = [{"id": one, "type": "function", "function": {"name": name, "arguments": arguments}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made, **more}


def result(call: str) -> Json:
    return {"role": "tool", "tool_call_id": call, "content": "42"}


def loop(*ids: str, name: str = "f", **more: Any) -> list[Json]:
    return [calls(*ids, name=name, **more), *(result(one) for one in ids)]


def parts(*found: Json, role: str = "user") -> Json:
    return {"role": role, "content": list(found)}


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said, **more}


PICTURE: Json = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
MARKED = text("x", cache_control={"type": "ephemeral"})


# rule, model, messages behind the first question, other fields, the provider's words, its name
WRONG: list[tuple[str, str, list[Json], Json, str, str]] = [
    ("anthropic_ids", CLAUDE, loop("functions.f:0"), {}, "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", "Anthropic"),
    ("anthropic_ids", CLAUDE, loop(""), {}, "messages.1.content.0.tool_use.id: String should match", "Anthropic"),
    ("anthropic_unique_ids", CLAUDE, [*loop("a"), SAID, ASKED, *loop("a")], {}, "messages.5.content.0: `tool_use` ids must be unique", "Anthropic"),
    ("anthropic_names", CLAUDE, loop("a", name="two words"), {}, "messages.1.content.0.tool_use.name: String should match", "Anthropic"),
    ("anthropic_inputs", CLAUDE, loop("a", arguments='{"city": '), {}, "messages.1.content.0.tool_use.input: Input should be a valid dictionary", "Anthropic"),
    ("anthropic_inputs", CLAUDE, loop("a", arguments="[1]"), {}, "Input should be a valid dictionary", "Anthropic"),
    ("anthropic_tools", CLAUDE, loop("a"), {"provider": {"only": ["amazon-bedrock"]}}, "The toolConfig field must be defined when using toolUse and toolResult content blocks.", "Amazon Bedrock"),
    ("anthropic_results", CLAUDE, [calls("a", "b"), result("a"), ASKED], {}, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: b. Each", "Anthropic"),
    ("anthropic_results", CLAUDE, [calls("a"), ASKED, result("a")], {}, "messages.1: `tool_use` ids were found without", "Anthropic"),
    ("anthropic_results", CLAUDE, [SAID, result("a")], {}, "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: a. Each", "Anthropic"),
    ("anthropic_empty_texts", CLAUDE, [SAID, parts(text(""), text("Why?"))], {}, "messages: text content blocks must be non-empty", "Anthropic"),
    ("anthropic_empty_messages", CLAUDE, [EMPTY, ASKED], {}, "messages.1: all messages must have non-empty content except for", "Anthropic"),
    ("anthropic_signatures", CLAUDE, [{**SAID, "reasoning_details": [PLAIN]}, ASKED], {}, "messages.1.content.0.thinking.signature: Field required", "Anthropic"),
    ("anthropic_signatures", CLAUDE, [{**SAID, "reasoning_details": [{**PLAIN, "signature": "x"}]}, ASKED], {}, "messages.1.content.0: Invalid `signature` in `thinking` block", "Anthropic"),
    ("anthropic_signatures", CLAUDE, [{**SAID, "reasoning_details": [ENCRYPTED]}, ASKED], {}, "messages.1.content.0: Invalid `data` in `redacted_thinking` block", "Anthropic"),
    ("anthropic_thinking_demanded", CLAUDE, loop("a"), REASON, "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block", "Anthropic"),
    ("anthropic_thinking_demanded", CLAUDE, loop("a", reasoning="Hm."), {"reasoning": {"max_tokens": 2000}}, "but found `tool_use`", "Anthropic"),
    ("anthropic_thinking_demanded", CLAUDE, [*loop("a"), ASKED], REASON, "but found `tool_use`", "Anthropic"),
    ("anthropic_thinking_demanded", CLAUDE, [SAID], REASON, "but found `text`", "Anthropic"),
    ("anthropic_prefill", CLAUDE, [{**SAID, "content": "As I "}], {}, "messages: final assistant content cannot end with trailing whitespace", "Anthropic"),
    ("anthropic_prefill", CLAUDE_46, [SAID], {}, "This model does not support assistant message prefill.", "Anthropic"),
    ("anthropic_cache_marks", CLAUDE, [SAID, parts(*[MARKED] * 5)], {}, "A maximum of 4 blocks with cache_control may be provided. Found 5.", "Anthropic"),
    ("openai_ids", GPT, loop("x" * 41), {}, "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 41 instead.", "OpenAI"),
    ("openai_ids", GPT, loop(""), {}, "Invalid 'messages[1].tool_calls[0].id': empty string.", "OpenAI"),
    ("openai_lists", GPT, [{**SAID, "tool_calls": []}, ASKED], {}, "Invalid 'messages[1].tool_calls': empty array. Expected an array with minimum length 1, but got an empty array instead.", "OpenAI"),
    ("openai_names", GPT, loop("a", name="a.b"), {}, "Invalid 'messages[1].tool_calls[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", "OpenAI"),
    ("openai_names", GPT, loop("a", name="x" * 65), {}, "string too long. Expected a string with maximum length 64", "OpenAI"),
    ("openai_speakers", GPT, [{**SAID, "name": "my agent"}, ASKED], {}, "Invalid 'messages[1].name': string does not match pattern. Expected a string that matches the pattern '^[^\\s<|\\\\/>]+$'.", "OpenAI"),
    ("openai_results", GPT, [calls("a", "b"), result("a")], {}, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: b", "OpenAI"),
    ("openai_results", GPT, [result("a")], {}, "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.", "OpenAI"),
    ("openai_images", GPT, [calls("a"), {**result("a"), "content": [PICTURE]}], {}, "Invalid 'messages[2]'. Image URLs are only allowed for messages with role 'user', but this message with role 'tool' contains an image URL.", "OpenAI"),
    ("openai_images", GPT, [parts(text("Here."), PICTURE, role="assistant"), ASKED], {}, "but this message with role 'assistant' contains an image URL.", "OpenAI"),
    ("openai_encrypted", GPT, [{**SAID, "reasoning_details": [ENCRYPTED]}, ASKED], {}, "The encrypted content Zm9y...bg== could not be verified.", "OpenAI"),
    ("openai_encrypted", GPT, [{**SAID, "reasoning_details": [{**PLAIN, "signature": "Zm9yZWlnbg=="}]}, ASKED], {}, "could not be verified.", "OpenAI"),
    ("openai_encrypted", GROK, [{**SAID, "reasoning_details": [ENCRYPTED]}, ASKED], {}, "could not be verified.", "xAI"),
    ("google_names", GEMINI_2, loop("a", name="1st"), {}, "Invalid function name. Must start with a letter or an underscore.", "Google"),
    ("google_results", GEMINI_2, [calls("a", "b"), result("a")], {}, "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.", "Google"),
    ("google_results", GEMINI_2, [SAID, result("a")], {}, "Please ensure that function response turn comes immediately after a function call turn.", "Google"),
    ("google_signatures", GEMINI_2, loop("a", reasoning_details=[ENCRYPTED]), {}, "Unable to submit request because Thought signature is not valid.", "Google"),
    ("google_signature_demanded", GEMINI_3, loop("a"), {}, "Unable to submit request because function call `f` in the 2. content block is missing a `thought_signature`.", "Google"),
    ("google_signature_demanded", GEMINI_3, loop("a", reasoning_details=[SKIP]) + loop("b"), {}, "function call `f` in the 4. content block is missing", "Google"),
    ("google_signature_demanded", GEMINI_3, loop("a", "b", reasoning_details=[{**SKIP, "id": "b"}]), {}, "is missing a `thought_signature`", "Google"),
    ("google_signature_demanded", GEMINI_3, loop("a"), {"provider": {"only": ["google-ai-studio"]}}, "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:f` , position 2.", "Google AI Studio"),
    ("mistral_ids", MISTRAL, loop("call_1"), {}, "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", "Mistral"),
    ("mistral_names", MISTRAL, loop("abcdefghi", name="a.b"), {}, "Function name was a.b but must be a-z, A-Z, 0-9,", "Mistral"),
    ("mistral_order", MISTRAL, [*loop("abcdefghi"), ASKED], {}, "Unexpected role 'user' after role 'tool'", "Mistral"),
    ("mistral_order", MISTRAL, [*loop("abcdefghi"), {"role": "system", "content": "Be brief."}], {}, "Unexpected role 'system' after role 'tool'", "Mistral"),
    ("mistral_order", MISTRAL, [result("abcdefghi")], {}, "Unexpected role 'tool' after role 'user'", "Mistral"),
    ("mistral_order", MISTRAL, [calls("abcdefghi", "abcdefghj"), result("abcdefghi")], {}, "Not the same number of function calls and responses", "Mistral"),
    ("mistral_results_are_text", MISTRAL, [calls("abcdefghi"), {**result("abcdefghi"), "content": [PICTURE]}], {}, "Input should be <ChunkTypes.text: 'text'>", "Mistral"),
    ("mistral_last", MISTRAL, [SAID], {}, "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant", "Mistral"),
    ("mistral_reasoning", MISTRAL, [{**SAID, "reasoning": "Hm."}, ASKED], {}, "Reasoning input is not enabled for this model", "Mistral"),
    ("mistral_empty", MISTRAL, [EMPTY, ASKED], {}, "Assistant message must have either content or tool_calls", "Mistral"),
    ("moonshot_results_are_text", "moonshotai/kimi-k2.5", [calls("functions.f:0"), {**result("functions.f:0"), "content": [PICTURE]}], {}, "tool message content only supports text", "Moonshot AI"),
    ("moonshot_reasoning", KIMI_THINKING, loop("functions.f:0"), {}, "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1", "Moonshot AI"),
    ("moonshot_reasoning", "moonshotai/kimi-k2.5", loop("functions.f:0"), {}, "reasoning_content is missing", "Moonshot AI"),
    ("deepseek_reasoning", DEEPSEEK, loop("a"), REASON, "The `reasoning_content` in the thinking mode must be passed back to the API.", "DeepInfra"),
    ("deepseek_reasoner", R1, [ASKED], {}, "deepseek-reasoner does not support successive user or assistant messages (messages[0] and messages[1] in your input).", "DeepInfra"),
    ("deepseek_reasoner", R1, [SAID], {}, "The last message of deepseek-reasoner must be a user message", "DeepInfra"),
    ("deepseek_reasoner", R1, [{**SAID, "reasoning_content": "Hm."}, ASKED], {}, "reasoning_content field", "DeepInfra"),
    ("qwen_arguments", QWEN, loop("a", arguments='{"city": '), {}, "Invalid JSON in the arguments of a tool call", "Alibaba"),
    ("qwen_lists", QWEN, [{**SAID, "tool_calls": []}, ASKED], {}, "Empty tool_calls is not supported in message.", "Alibaba"),
    ("qwen_order", QWEN, [calls("a"), ASKED], {}, '<400> InternalError.Algo.InvalidParameter: An assistant message with "tool_calls" must be followed by tool messages responding to each "tool_call_id". The following tool_call_ids did not have response messages: messages.[2].role', "Alibaba"),
    ("qwen_order", QWEN, [result("a")], {}, 'messages with role "tool" must be a response to a preceeding message with "tool_calls".', "Alibaba"),
    ("xai_empty", GROK, [EMPTY, ASKED], {}, "Invalid request content: Each message must have at least one content element.", "xAI"),
    ("cohere_empty", COMMAND, [EMPTY, ASKED], {}, "invalid request: message must be at least 1 token long", "Cohere"),
]  # fmt: skip


RIGHT: list[tuple[str, list[Json], Json]] = [
    *((model, [SAID, ASKED], {}) for model in (CLAUDE, CLAUDE_46, GPT, GROK, GEMINI_3, MISTRAL, KIMI, R1, QWEN, LLAMA, COMMAND)),
    (CLAUDE, [*loop("toolu_1", "b-2"), SAID, ASKED, *loop("c")], {}),
    (CLAUDE, [*loop("a"), SAID, ASKED], REASON),  # the loop is over: nothing is demanded
    (CLAUDE, [*loop("a"), ASKED, *loop("b")], {}),
    (CLAUDE, [{**SAID, "content": "As I"}], {}),
    (CLAUDE, [{**calls("a"), "content": ""}, result("a")], {}),
    (CLAUDE, [SAID, parts(*[MARKED] * 4)], {}),
    (CLAUDE, [{**SAID, "reasoning": "Hm."}, ASKED], {}),
    (GPT, [*loop("functions.f:0"), SAID, ASKED, *loop("functions.f:0")], {}),
    (GPT, [{**SAID, "name": "my_agent-1"}, SAID], {}),
    (GPT, [calls("a"), {**result("a"), "content": [text("42")]}, parts(PICTURE)], {}),
    (CLAUDE, [calls("a"), {**result("a"), "content": [text("42"), PICTURE]}], {}),
    (GPT, [{**SAID, "reasoning_details": [PLAIN]}, ASKED], {}),
    (GEMINI_3, loop("a", "b", reasoning_details=[{**SKIP, "id": "a"}]), {}),
    (GEMINI_3, loop("", reasoning_details=[SKIP]), {}),
    (GEMINI_3, [*loop("a"), SAID, ASKED], {}),
    (GEMINI_2, loop("a"), {}),
    (MISTRAL, loop("abcdefghi", "ABCDEFGH1"), {}),
    (MISTRAL, [*loop("abcdefghi"), SAID, ASKED], {}),
    (MISTRAL, [{**SAID, "prefix": True}], {}),
    (MAGISTRAL, [{**SAID, "reasoning": "Hm."}, ASKED], {}),
    (KIMI, [*loop("functions.f:0", "functions.f:1"), SAID, ASKED, *loop("functions.f:2")], {}),
    (KIMI_THINKING, loop("functions.f:0", reasoning="Hm."), {}),
    (KIMI_THINKING, loop("functions.f:0", reasoning_content="Hm."), {}),
    ("moonshotai/kimi-k2.5", loop("functions.f:0"), {"reasoning": {"enabled": False}}),
    ("moonshotai/kimi-k3", loop("anything", reasoning_details=[PLAIN]), {}),
    (DEEPSEEK, loop("a"), {}),
    (DEEPSEEK, [*loop("a"), SAID, ASKED, *loop("b", reasoning="Hm.")], REASON),
    (GROK, loop("a"), {}),
    (LLAMA, [*loop("anything at all"), ASKED, ASKED, SAID], {}),
    ("somebody/something", [*loop("any.thing:0"), ASKED, EMPTY, ASKED], {}),
    ("openai/gpt-oss-120b", loop("x" * 60), {}),
]  # fmt: skip


# rule, model, all messages, other fields, the provider's words
SYSTEM: Json = {"role": "system", "content": "Be brief."}
BEGINNINGS: list[tuple[str, str, list[Json], Json, str]] = [
    ("anthropic_beginning", CLAUDE, [SYSTEM], {}, "messages: at least one message is required"),
    (
        "anthropic_beginning",
        CLAUDE,
        [SYSTEM, SAID, ASKED],
        {"provider": {"only": ["amazon-bedrock"]}},
        "A conversation must start with a user message.",
    ),
    ("google_beginning", GEMINI_2, [SYSTEM], {}, "contents is not specified"),
    ("google_beginning", GEMINI_2, [SYSTEM, SAID, ASKED], {}, "multiturn requests alternate between user and model"),
    ("google_beginning", GEMINI_2, [*loop("a"), ASKED], {}, "function call turn comes immediately after a user turn"),
    ("qwen_user", "qwen/qwen3.5-27b", [SYSTEM], {}, "No user query found in messages."),
    ("qwen_user", "qwen/qwen3.5-27b", [SYSTEM, *loop("a")], {}, "No user query found in messages."),
]
