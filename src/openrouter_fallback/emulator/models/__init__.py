"""The models, their providers, limits and prices, and how a request is routed to them."""
