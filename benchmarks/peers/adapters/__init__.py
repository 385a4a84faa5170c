"""One module for each peer: `Chain(base_url, key, models, timeout, **options)`, run in that peer's environment.

A chain has `call`, `acall`, `stream` and `astream` of one prompt, as far as the peer has them: the first two return the
text, the others yield it in pieces. `models` is the primary and what comes after it; `timeout` (seconds) is set where
the peer's documentation says that a model's silence is bounded, and None leaves the peer's default. All else is the
peer's default, or `options` as the table of peers gives them. Nothing here imports this project but the rows of ours.
"""
