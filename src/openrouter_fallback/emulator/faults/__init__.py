"""What goes wrong: every fault, when it strikes, and the plan of what goes over the wire."""
