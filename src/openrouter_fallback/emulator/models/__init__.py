"""The emulated models, their providers, limits and prices, and the routing of requests to providers."""
