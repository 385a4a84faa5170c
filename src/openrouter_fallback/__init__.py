"""Keep answering when models fail."""
