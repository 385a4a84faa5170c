"""The server: the pages, the connections, the player of plans and the log of requests."""
