"""What the commands find out. Pure."""
