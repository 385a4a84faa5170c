"""Which models a call may use, in which order, and why others are skipped. Calls no model."""
