"""The faults: the table of all kinds, the schedule that chooses the fault of a request, and the plans to play."""
