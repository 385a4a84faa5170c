"""The emulator's HTTP server: the endpoints, the connections, the player of plans and the request log."""
