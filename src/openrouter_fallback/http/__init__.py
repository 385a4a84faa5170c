"""HTTP: the only modules that use the HTTP library. The core uses `protocol`."""
