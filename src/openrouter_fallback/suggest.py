"""Finds the most similar existing name, for error messages about an unknown name ("Did you mean ...?")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

CLOSE = 0.6
"""The lowest similarity, 0 to 1, for a match in a short list of names: keys, settings, tasks."""
VERY_CLOSE = 0.8
"""The lowest similarity for a match among thousands of names, such as the ids of a list of models."""


def nearest(word: str, options: Iterable[str], likeness: float = CLOSE) -> str | None:
    """The option most similar to `word`, ignoring case; None if no option is similar enough.

    A model's name without its author means the id that ends with it.
    """
    from difflib import get_close_matches  # slow to import, and needed only after a mistake

    by_lower = {option.lower(): option for option in options}
    whole = next((option for lower, option in by_lower.items() if lower.endswith(f"/{word.lower()}")), None)
    if whole is not None:
        return whole
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, options: Iterable[str], likeness: float = CLOSE) -> str:
    """The question " Did you mean '...'?", to append to a sentence; empty if no option is similar to `word`."""
    found = nearest(word, options, likeness)
    return "" if found is None else f" Did you mean {found!r}?"


def meant(place: str, name: str) -> str | None:
    """How to write a name from another library at this `place`; None if the name is not in the table."""
    return next((words[name] for words in _KNOWN[place] if name in words), None)


def likely(place: str, name: str) -> str | None:
    """How to write a name that only resembles those of other libraries; None if nothing is likely."""
    plain = snake(name)
    if plain != name and (said := meant(place, plain)) is not None:
        return said
    return next((said for manner, said in _MANNERS.get(place, ()) if re.fullmatch(manner, plain)), None)


def snake(name: str) -> str:
    """`topP`, `top-p` and `TopP` as `top_p`."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")


def no_attribute(owner: str, place: str, name: str, there: Iterable[str], otherwise: str = "") -> AttributeError:
    """The error for a missing attribute. Names the attribute of this library, or else the most similar one."""
    said = meant(place, name)
    if said is None:
        public = [one for one in there if not one.startswith("_")]
        said = (did_you_mean(name, public) or otherwise).strip() if not name.startswith("_") else ""
    return AttributeError(f"{owner} has no attribute {name!r}{f'; {said}' if said else ''}", name=name)


_MODELS = "name the models in order: models=['openai/gpt-5.1', ...]"
_SYSTEM = "the system prompt is the first message: [{'role': 'system', 'content': '...'}, {'role': 'user', ...}]"
_RETRIES = (
    "the attempts of a model, the first included, are a setting of the client, settings={'max_retries_per_model': 2}, "
    "or of a model, ModelConfig(id, max_retries=2)"
)
_TIMEOUT = "timeout= is the seconds to the first token, total_timeout= those of the whole call"
_STREAM = "use client.stream(...) or client.astream(...)"
_ASK = "call client.chat(messages, ...)"
_FOR_ALL_CALLS = "{0}= is an argument of a call, client.chat(..., {0}=...); for all of them settings={{{1!r}: ...}}"

# Name in another library -> what to write here.
_ANYWHERE = {
    "system": _SYSTEM,
    "system_prompt": _SYSTEM,
    "system_message": _SYSTEM,
    "instructions": _SYSTEM,
    **dict.fromkeys(("max_retries", "retries", "num_retries", "n_retries", "max_attempts", "retry"), _RETRIES),
    "model": _MODELS,
    "model_name": _MODELS,
    "fallbacks": _MODELS,
    "fallback_models": _MODELS,
    "fallback": _MODELS,
    "default_chain": _MODELS,
    "stream": _STREAM,
    "on_event": "use client.with_options(on_event=...) or client.subscribe(...)",
}
_IN_A_CALL = {
    "messages": "the messages are the first argument",
    "prompt": "the prompt is the first argument",
    "mid_stream": "it is one of stream and astream; a call that is not streamed starts over",
    "timeout_seconds": _TIMEOUT,
    "request_timeout": _TIMEOUT,
    "first_token_timeout": "that is timeout=",
    "first_token_timeout_seconds": "that is timeout=",
    "stall_timeout_seconds": "that is stall_timeout=",
    "total_timeout_seconds": "that is total_timeout=",
    "extra_headers": "that is headers=",
    "default_headers": "that is headers=",
    **dict.fromkeys(("max_output_tokens", "max_new_tokens", "max_tokens_to_sample"), "that is max_tokens="),
    "deadline": "that is total_timeout=",
    "input": "the messages are the first argument",
    **dict.fromkeys(
        ("api_base", "openai_api_base"), "it is an argument of the client: FallbackClient(..., base_url=...)"
    ),
    "openai_api_key": "it is an argument of the client: FallbackClient(..., api_key=...)",
    **dict.fromkeys(("callbacks", "callback"), "use client.with_options(on_event=...) or client.subscribe(...)"),
    **dict.fromkeys(("response_model", "json_mode", "json_schema", "output_schema"), "that is response_format={...}"),
    "stop_sequences": "that is stop=",
}
_FIRST = "the messages are the first argument; a text is the user's message"
_OF_THE_CLIENT = "it is an argument of the client: FallbackClient(..., {}=...)"
_LIMIT = (
    "max_price= is the highest price in USD per million prompt tokens; what a day may cost is a setting of the client, "
    "settings={'spend_limit_usd': {'per_day': ...}}"
)
_EVENTS = "use client.with_options(on_event=...) or client.subscribe(...)"
_ANY_MODELS = (
    r"(models?|engine|deployment|llm|backups?|fallbacks?|alternat(ive|e)s?)(_(name|id|ids|list|chain|models?))?"
)
_ANY_RETRIES = r"(max_|num_|n_)?(retry|retries|tries|attempts)(_(count|limit|policy|max|times|delay))?|backoff(_\w+)?"

# Place -> expressions for the names that many libraries have for one thing, without upper case.
_MANNERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "call": (
        (r"(sys|developer)(_(prompt|message|text|instructions?))?|system_\w+|instructions?|persona|preamble", _SYSTEM),
        (r"(user_?)?(prompt|message|query|question)s?(_text)?|user_(input|text)|history|contents?", _FIRST),
        (_ANY_RETRIES, _RETRIES),
        (r"(\w+_)?time_?out(_(s|sec|secs|ms|seconds))?|deadline(_\w+)?|max_(wait|time)|wait|total_time", _TIMEOUT),
        (_ANY_MODELS, _MODELS),
        (r"(is_|enable_)?stream(ing|ed)?", _STREAM),
        (r"(openrouter_|open_router_)?(api_?)?(key|token)|auth(orization)?", _OF_THE_CLIENT.format("api_key")),
        (r"(base_|api_|server_)?(url|host|endpoint)s?", _OF_THE_CLIENT.format("base_url")),
        (r"proxy|proxies|http_client|verify|ssl|organization|project", "it belongs to the HTTP client, not to a call"),
        (r"callbacks?(_\w+)?|handlers?|on_(token|chunk|event|error|finish|retry|message)|verbose|logger", _EVENTS),
        (r"validat(e|or|ors|ion)|accept_\w+|is_ok", "that is accept=, a function of the answer"),
        (
            r"json|(json|output|response|pydantic)_(schema|model|class)|schema|structured(_output)?",
            "that is response_format={...}",
        ),
        (r"max_(length|len|output|gen_len|completion)", "that is max_tokens="),
        (r"temp", "that is temperature="),
        (r"stops?(_(words?|strings?|tokens?|sequences?|at))?|end_sequences?", "that is stop="),
        (r"(n|num)_(choices|completions|responses|return_sequences)|num_return_sequences", "that is n="),
        (r"tool|tool_(list|defs?|definitions)|functions?_list", "that is tools=[...]"),
        (
            r"(presence|frequency|repetition)(_pen)?",
            "that is presence_penalty=, frequency_penalty= or repetition_penalty=",
        ),
        (r"(max_|total_|spend_)?(cost|budget|price|spend)(_(limit|usd|cap|max))?", _LIMIT),
        (r"(provider|providers)_(order|only|ignore|sort|name)|routing", "that is provider={...}"),
        (r"effort|reasoning_(tokens|budget|level)", "that is reasoning={...}"),
        (r"idempotency_key", "idempotent=False is for a call that may not be sent twice"),
        (r"conversation_id|thread|chat_id", "that is thread_id="),
        (r"(default_|request_|http_)?headers?", "that is headers="),
        (
            r"run_name|run_id|trace_id|extra_query|chain",
            "it is not sent to a model; extra_body={...} sends any field",
        ),
    ),
    "client": (
        (r"(openrouter_|open_router_)?(api_?)?(key|token)|auth(orization)?", "that is api_key="),
        (r"(base_|api_|server_)?(url|host|endpoint)", "that is base_url="),
        (
            r"endpoints|chains?|tasks|default_chain",
            "it is a part of the configuration: FallbackClient(config=...) or from_config(path)",
        ),
        (_ANY_RETRIES, _RETRIES),
        (r"(\w+_)?time_?out(_(s|sec|secs|ms|seconds))?", f"{_TIMEOUT} of a call; for all of them settings={{...}}"),
        (
            r"proxy|proxies|http_client|verify|ssl",
            "proxies and certificates are read from HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE",
        ),
        (_ANY_MODELS, _MODELS),
        (
            r"(max_|spend_|daily_)?(cost|budget|spend)(_(limit|usd|cap))?",
            "it is a setting: settings={'spend_limit_usd': {'per_day': ...}}",
        ),
        (
            r"redis(_url|_host)?|store_url|health_store_url",
            "it is a setting: settings={'health_store': 'redis://host:6379/0'}",
        ),
        (r"(app_|application_)?(name|title)|x_title", "that is app_title="),
        (r"(http_)?referr?er|site_url|site", "that is app_url="),
        (r"callbacks?(_\w+)?|handlers?|verbose|log|logger|on_\w+", _EVENTS),
        (
            r"params|extra_body|default_\w+|model_kwargs",
            "parameters belong to a call, or to a model: ModelConfig(id, params={...})",
        ),
    ),
}
_TO_A_CLIENT = {
    "timeout": _FOR_ALL_CALLS.format("timeout", "first_token_timeout_seconds"),
    "stall_timeout": _FOR_ALL_CALLS.format("stall_timeout", "stall_timeout_seconds"),
    "total_timeout": _FOR_ALL_CALLS.format("total_timeout", "total_timeout_seconds"),
    "request_timeout": _TIMEOUT + " of a call; for all of them there are settings={...}",
    "api_base": "that is base_url=",
    "openai_api_base": "that is base_url=",
    "openai_api_key": "that is api_key=",
    "openrouter_api_key": "that is api_key=",
    "extra_headers": "that is headers=",
    "default_headers": "that is headers=",
}
_TO_LANGCHAIN = {
    "fallback_models": "models",
    "fallbacks": "models",
    "headers": "default_headers",
    "model_id": "model",
    "model_name": "model",
    "openai_api_base": "base_url",
    "openai_api_key": "api_key",
    "provider": "openrouter_provider",
}
_TO_LLAMAINDEX = {
    "model": "models=['...'], the chain in order",
    "model_name": "models=['...'], the chain in order",
    "base_url": "api_base=",
    "headers": "default_headers=",
    "num_output": "max_tokens=",
    "request_timeout": "timeout=, seconds to the first token, or total_timeout=, of the whole call",
    "reasoning": "additional_kwargs={'reasoning': ...}",
    "is_chat_model": "not needed: every model is called as a chat model",
}
_IN_SETTINGS = {
    "timeout": "first_token_timeout_seconds, the seconds to the first token, or total_timeout_seconds, those of a call",
    "request_timeout": "total_timeout_seconds, the seconds of a call, or attempt_timeout_seconds, those of an attempt",
    "timeout_seconds": "first_token_timeout_seconds, the seconds to the first token, or total_timeout_seconds",
    "stream_timeout": "first_token_timeout_seconds, and stall_timeout_seconds between two tokens",
    **dict.fromkeys(("max_retries", "num_retries", "retries"), "max_retries_per_model, the attempts of a model"),
    **dict.fromkeys(("cooldown", "cooldown_time", "cooldown_seconds"), "disable_duration_seconds"),
    **dict.fromkeys(("allowed_fails", "failure_threshold"), "min_samples, and skip_threshold for the share"),
    **dict.fromkeys(("redis", "redis_url", "redis_host"), "health_store, a URL such as redis://host:6379/0"),
    **dict.fromkeys(("max_budget", "budget", "spend_limit"), "spend_limit_usd: {per_day: 20}"),
    **dict.fromkeys(("telemetry", "tracing", "otel"), "opentelemetry"),
}
_OF_AN_ANSWER = {
    "content": "the text is `.text`",
    "output_text": "the text is `.text`",
    "choices": "the first choice is `.choice`, its text `.text`, its message `.message`; all are in `.raw['choices']`",
    "delta": "the text of an answer is `.text`; the pieces of a stream have it too",
    "id": "it is in the body: `.raw['id']`",
    "created": "it is in the body: `.raw['created']`",
    **dict.fromkeys(("model_dump", "to_dict", "dict", "json"), "the body is `.raw`"),
}
_OF_A_PIECE = {
    **dict.fromkeys(("content", "choices", "delta"), "what is new is `.text`; the chunk as received is `.raw`"),
    **dict.fromkeys(("finish_reason", "usage", "cost", "model"), "after the last piece it is in stream.completion"),
}
_PIECES = "read it: for piece in stream (async for, of astream); then stream.completion is the whole answer"
_OF_A_STREAM = dict.fromkeys(
    (
        "text",
        "content",
        "choices",
        "message",
        "tool_calls",
        "finish_reason",
        "usage",
        "cost",
        "model",
        "seams",
        "attempts",
    ),
    _PIECES,
)
_OF_A_CLIENT = {
    **dict.fromkeys(("completion", "completions", "complete", "create", "generate", "responses", "messages"), _ASK),
    **dict.fromkeys(("acompletion", "acomplete", "acreate", "agenerate"), "call client.achat(messages, ...)"),
    "invoke": f"{_ASK}; LangChain's model is ChatOpenRouterFallback",
    "ainvoke": "call client.achat(messages, ...); LangChain's model is ChatOpenRouterFallback",
    "models": "the chain is client.chain(), the endpoint's list client.catalog.models()",
}
_CALLED = "client.chat is the call itself: client.chat(messages, ...), and client.stream(messages, ...) to stream"
_OF_THE_CALL = dict.fromkeys(("completions", "create", "stream", "parse"), _CALLED)

# Place -> its tables. The first table that contains the name wins.
_KNOWN: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "call": (_IN_A_CALL, _ANYWHERE),
    "client": (_TO_A_CLIENT, _ANYWHERE),
    "settings": (_IN_SETTINGS,),
    "copy": (_ANYWHERE,),
    "ChatOpenRouterFallback": (_TO_LANGCHAIN,),
    "OpenRouterFallback": (_TO_LLAMAINDEX,),
    "answer": (_OF_AN_ANSWER,),
    "piece": (_OF_A_PIECE,),
    "stream": (_OF_A_STREAM,),
    "client's": (_OF_A_CLIENT,),
    "client.chat": (_OF_THE_CALL,),
}
