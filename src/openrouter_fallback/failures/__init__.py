"""Failures as values: their kinds, the signs of each kind, the classifier that reads errors, and the policy.

- `kinds`: `FailureKind` and `Failure`.
- `shapes`: finds the codes, texts and objects in an error of any shape.
- `signs`: tables of codes and statuses. `wordings`: tables of patterns for messages.
- `waits`: reads the time that a server asks to wait.
- `classifier`: turns a response, a body or an event into a `Failure`.
- `policy`: what the machine does after each kind of failure.
"""
