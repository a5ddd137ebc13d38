"""A client that loads a server over loopback, in a process of its own, and writes down what became of every request."""
