"""One call under way. Its core is `steps`, which knows neither an event loop nor HTTP.

The timelines of the tests drive the same core.
"""
