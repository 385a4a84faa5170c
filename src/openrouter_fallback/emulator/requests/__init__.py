"""The checks of requests: invalid requests, histories that a provider refuses, and the errors for both."""
