"""The answers of the emulated models: completion bodies, and their form as streams."""
