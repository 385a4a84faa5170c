"""What a server's bytes say: the accumulated answer, and whether it is one."""
