"""One module for each peer, with the class `Chain(base_url, key, models, timeout, **options)`. It runs in the peer's
environment.

A chain has the methods `call`, `acall`, `stream` and `astream` for one prompt, as far as the peer supports them. The
first two return the text; the others yield the text in pieces. `models` is the primary followed by the other models.
`timeout` (seconds) limits a model's silence with the option that the peer's documentation names; None keeps the peer's
default. All other settings are the peer's defaults, or `options` from the table of peers. Only the modules `ours_*`
import this project.
"""
