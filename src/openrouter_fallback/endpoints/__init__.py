"""The endpoints of requests: URLs, headers, API keys, and requests for an endpoint's own data."""
