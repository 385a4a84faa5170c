"""Spend limits: quotes for requests, reservations of calls, and the ledger of a client."""
