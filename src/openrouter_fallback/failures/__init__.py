"""Failures as values: the kinds, the signs that name them, the classifier that reads them, the policy that follows."""
