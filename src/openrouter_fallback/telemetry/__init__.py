"""Calls as OpenTelemetry spans and metrics."""
