"""The caller's request: checked once, encoded once, and adapted to each candidate."""
