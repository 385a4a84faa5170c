"""The decision of one call, as a pure state machine: events and the time in, commands out."""
