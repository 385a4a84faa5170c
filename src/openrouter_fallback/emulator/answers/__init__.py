"""What a model answers: the body of a completion, and its form as a stream."""
