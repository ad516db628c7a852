"""What speaks HTTP inside a worker: a small port, and one adapter a server."""
