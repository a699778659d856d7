"""Redis: the one way to connect, the embedded server, what is wrong with a server, what is written for good."""
