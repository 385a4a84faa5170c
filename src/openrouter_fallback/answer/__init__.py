"""The answer of one attempt, as a pure decoder: bytes in, events out."""
