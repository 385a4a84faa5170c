"""The models that exist: prices, context, capabilities; fetched in the background, kept on disk."""
