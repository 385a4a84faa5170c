"""The user's configuration: chains, tiers, endpoints and settings, as immutable models that are validated together."""
