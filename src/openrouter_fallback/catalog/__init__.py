"""The catalog of models: prices, context lengths, capabilities. Fetched in the background, cached on disk."""
