"""A drill's result for people: live, as text, as charts."""
