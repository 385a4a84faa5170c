"""The same calls and faults for this project and its peers, each in an environment of its own. See ../README.md."""
