"""Where requests go: URLs, headers, API keys, and what an endpoint says of itself."""
