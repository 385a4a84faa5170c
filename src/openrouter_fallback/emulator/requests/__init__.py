"""What is refused: requests and histories that no provider takes, and the errors that say so."""
