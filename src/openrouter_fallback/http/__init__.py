"""HTTP: the only modules that know the HTTP library. The core sees `protocol`."""
