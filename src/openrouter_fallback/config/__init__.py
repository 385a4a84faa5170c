"""What the user writes: chains, tiers, endpoints and settings, as frozen models that are checked as a whole."""
