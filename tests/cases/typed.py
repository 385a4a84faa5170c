"""What people type from memory of other libraries, and the words that tell them what it is called here."""

from __future__ import annotations

from typing import Any

_FIRST = ("the first message", "'system'")
_SETTING = ("settings={",)

# beside a call: name: (value, words)
CALL: dict[str, tuple[Any, tuple[str, ...]]] = {
    "system": ("Be brief", _FIRST),
    "system_prompt": ("Be brief", _FIRST),
    "system_message": ("Be brief", _FIRST),
    "instructions": ("Be brief", _FIRST),
    "prompt": ("hi", ("first argument",)),
    "max_retries": (3, ("'max_retries_per_model'", *_SETTING)),
    "retries": (3, ("'max_retries_per_model'", *_SETTING)),
    "num_retries": (3, ("'max_retries_per_model'", *_SETTING)),
    "on_failure": ({"auth": "next"}, ("'on_failure'", *_SETTING)),
    "policy": ("any_error", ("'policy'", *_SETTING)),
    "hedge": ({"after": 2}, ("'hedge'", *_SETTING)),
    "timeout_seconds": (3, ("timeout=", "total_timeout=")),
    "request_timeout": (3, ("timeout=", "total_timeout=")),
    "first_token_timeout_seconds": (3, ("timeout=",)),
    "stall_timeout_seconds": (3, ("stall_timeout=",)),
    "total_timeout_seconds": (3, ("total_timeout=",)),
    "attempt_timeout_seconds": (3, ("'attempt_timeout_seconds'", *_SETTING)),
    "api_key": ("x", ("FallbackClient(..., api_key=",)),
    "base_url": ("http://x", ("FallbackClient(..., base_url=",)),
    "config": ({}, ("FallbackClient(..., config=",)),
    "settings": ({}, ("FallbackClient(..., settings=",)),
    "n_retries": (3, ("'max_retries_per_model'", *_SETTING)),
    "max_attempts": (3, ("'max_retries_per_model'", *_SETTING)),
    "fallback": ("a/b", ("models=[",)),
    "default_chain": ([], ("models=[",)),
    "deadline": (3, ("total_timeout=",)),
    "max_new_tokens": (10, ("max_tokens=",)),
    "input": ("hi", ("first argument",)),
    "api_base": ("http://x", ("FallbackClient(..., base_url=",)),
    "callbacks": ([], ("with_options(on_event=",)),
    "json_mode": (True, ("response_format=",)),
    "extra_headers": ({"X-A": "1"}, ("headers=",)),
    "max_output_tokens": (10, ("max_tokens=",)),
    "stop_sequences": (["END"], ("stop=",)),
    "fallback_models": ([], ("models=",)),
    "on_event": (print, ("with_options(on_event=",)),
    **{
        name: ("x", words)
        for names, words in (
            ("sys sys_prompt systemPrompt developer system_text persona", _FIRST),
            ("user_prompt message query question history", ("first argument",)),
            ("maxRetries max_retry retry_count attempts tries backoff", ("'max_retries_per_model'",)),
            ("timeoutSeconds read_timeout connect_timeout timeout_ms max_wait deadline_seconds", ("total_timeout=",)),
            ("model_id engine deployment backup backups fallback_model model_list", ("models=[",)),
            ("streaming is_stream", ("client.stream(",)),
            ("apiKey key token", ("api_key=",)),
            ("url host endpoint baseUrl", ("base_url=",)),
            ("handler on_token verbose", ("on_event=",)),
            ("validate validator", ("accept=",)),
            ("json schema structured_output response_schema", ("response_format=",)),
            ("max_length max_output", ("max_tokens=",)),
            ("temp", ("temperature=",)),
            ("topP", ("top_p=",)),
            ("stops stop_words stopSequences", ("stop=",)),
            ("num_completions n_choices", ("n=",)),
            ("tool tool_list", ("tools=",)),
            ("budget max_cost cost_limit", ("'spend_limit_usd'",)),
            ("effort reasoning_budget", ("reasoning=",)),
            ("proxies http_client", ("HTTP client",)),
            ("run_name trace_id", ("extra_body=",)),
        )
        for name in names.split()
    },
    "temprature": (1, ("did you mean temperature=",)),
    "Temperature": (1, ("did you mean temperature=",)),
    "total_timout": (1, ("did you mean total_timeout=",)),
    "stall_timout": (1, ("did you mean stall_timeout=",)),
    "idempotant": (False, ("did you mean idempotent=",)),
}

# to FallbackClient(...): name: words
CLIENT: dict[str, tuple[str, ...]] = {
    "model": ("models=[",),
    "timeout": ("a call", "timeout=", "'first_token_timeout_seconds'"),
    "total_timeout": ("a call", "'total_timeout_seconds'"),
    "stall_timeout": ("a call", "'stall_timeout_seconds'"),
    "max_retries": ("'max_retries_per_model'", *_SETTING),
    "retries": ("'max_retries_per_model'", *_SETTING),
    "on_failure": ("'on_failure'", *_SETTING),
    "total_timeout_seconds": ("'total_timeout_seconds'", *_SETTING),
    "spend_limit_usd": ("'spend_limit_usd'", *_SETTING),
    "temperature": ("a call", "params={'temperature'"),
    "max_tokens": ("a call", "params={'max_tokens'"),
    "task": ("with_options(task=",),
    "max_price": ("with_options(max_price=",),
    "accept": ("a call",),
    "system": _FIRST,
    "api_base": ("base_url=",),
    "openai_api_key": ("api_key=",),
    "default_headers": ("headers=",),
    "fallbacks": ("models=[",),
    **{
        name: words
        for names, words in (
            ("key token apiKey", ("api_key=",)),
            ("url host endpoint", ("base_url=",)),
            ("endpoints chains tasks", ("config=",)),
            ("max_retry backoff maxRetries", _SETTING),
            ("timeout_seconds read_timeout", ("total_timeout=", "settings={")),
            ("proxy http_client verify", ("HTTPS_PROXY",)),
            ("budget spend_limit", ("'spend_limit_usd'",)),
            ("redis redis_url", ("'health_store'",)),
            ("app_name title", ("app_title=",)),
            ("referer site_url", ("app_url=",)),
            ("logger verbose", ("on_event=",)),
            ("extra_body", ("params={",)),
        )
        for name in names.split()
    },
    "base_ulr": ("did you mean base_url=",),
    "frobnicate": ("no argument frobnicate=", "models", "settings"),
}

# to client.with_options(...)
COPY: dict[str, tuple[str, ...]] = {
    "timeout": ("a call",),
    "temperature": ("a call",),
    "policy": ("'policy'", "FallbackClient(..., settings={"),
    "headers": ("a call", "FallbackClient(..., headers="),
    "model": ("models=[",),
    "taks": ("did you mean task=",),
    "frobnicate": ("no argument frobnicate=",),
}

# whose, name, words
ATTRIBUTES: list[tuple[str, str, tuple[str, ...]]] = [
    ("answer", "content", ("`.text`",)),
    ("answer", "choices", ("`.choice`", "`.text`", "`.raw['choices']`")),
    ("answer", "output_text", ("`.text`",)),
    ("answer", "model_dump", ("`.raw`",)),
    ("answer", "id", ("`.raw['id']`",)),
    ("answer", "txt", ("Did you mean 'text'?",)),
    ("answer", "tool_call", ("Did you mean 'tool_calls'?",)),
    ("answer", "frobnicate", ("`.raw`",)),
    ("piece", "content", ("`.text`",)),
    ("piece", "choices", ("`.text`",)),
    ("piece", "delta", ("`.text`",)),
    ("piece", "finish_reason", ("stream.completion",)),
    ("piece", "usage", ("stream.completion",)),
    ("stream", "text", ("for piece in stream", "stream.completion")),
    ("stream", "choices", ("for piece in stream", "stream.completion")),
    ("stream", "complete", ("Did you mean 'completion'?",)),
    ("stream", "_guarded", ("no attribute '_guarded'",)),
    ("async stream", "text", ("async for", "stream.completion")),
    ("client", "completions", ("client.chat(",)),
    ("client", "completion", ("client.chat(",)),
    ("client", "invoke", ("client.chat(", "ChatOpenRouterFallback")),
    ("client", "ainvoke", ("client.achat(",)),
    ("client", "complete", ("client.chat(",)),
    ("client", "responses", ("client.chat(",)),
    ("client", "models", ("client.catalog.models()", "client.chain()")),
    ("client", "strem", ("Did you mean 'stream'?",)),
    ("client", "frobnicate", ("no attribute 'frobnicate'",)),
    ("client.chat", "completions", ("client.chat(messages", "client.stream(")),
    ("client.chat", "create", ("client.chat(messages",)),
    ("client.chat", "stream", ("client.stream(",)),
]
