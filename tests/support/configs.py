"""Valid configurations, and the error message for an invalid configuration."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from openrouter_fallback.config.loading import load_config
from openrouter_fallback.errors import ConfigError

KEY = "sk-or-v1-0123456789abcdef"

OLDER_FORM = """\
# the older form: two kinds of chain and four settings
fallback:
  default_chain:
    - anthropic/claude-3.5-sonnet
    - openai/gpt-4-turbo
    - meta-llama/llama-3.1-70b-instruct

  task_chains:
    coding:
      - anthropic/claude-3.5-sonnet
      - deepseek/deepseek-coder
    fast:
      - anthropic/claude-3-haiku
      - openai/gpt-3.5-turbo

  settings:
    max_retries_per_model: 2
    disable_duration_seconds: 300
    health_window_minutes: 10
    skip_threshold: 0.3
"""

FULL_FORM = """\
fallback:
  default_chain: [anthropic/claude-sonnet-4.5, openai/gpt-5.1, groq:llama-3.3-70b-versatile]
  task_chains:
    coding: &coding [anthropic/claude-sonnet-4.5, deepseek/deepseek-chat]
    review: *coding
  cost_tiers:
    premium: [anthropic/claude-opus-4.1]
    budget: [anthropic/claude-haiku-4.5, openai/gpt-oss-120b:free]
    standard: [anthropic/claude-sonnet-4.5]
  providers: {anthropic: [anthropic/claude-sonnet-4.5], meta: [groq:llama-3.3-70b-versatile]}
  models:
    openai/gpt-5.1: &own
      {priority: 2, max_retries: 1, timeout: 20, disable_duration: 60, params: {temperature: 0.2, stop: [a, b]}}
    deepseek/deepseek-chat:
      <<: *own
      priority: -1
  endpoints:
    groq: {base_url: https://api.groq.example/openai/v1/, api_key_env: GROQ_API_KEY, stream_upstream: false}
  settings:
    policy: any_error
    on_failure: {content_policy: next, unavailable: raise}
    first_token_timeout_seconds: 12
    stall_timeout_seconds: 7.5
    total_timeout_seconds: 60
    attempt_timeout_seconds: 50
    order_by: latency
    min_samples: 5
    stream_upstream: false
"""


def refused(source: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    assert caught.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value)
