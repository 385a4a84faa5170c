"""The commands: what each does, from its options to its exit status."""
