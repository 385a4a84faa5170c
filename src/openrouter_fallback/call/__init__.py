"""One call under way. Only this room and `http` know asyncio."""
