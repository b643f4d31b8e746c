"""Load for a server, from a process of its own, every answer checked; and the trials that are made of it."""
