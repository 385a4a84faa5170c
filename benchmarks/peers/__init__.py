"""The same calls and faults for this project and its peers, each in a separate environment. See ../README.md."""
