"""Money: what a request may cost, what calls hold, what was spent."""
