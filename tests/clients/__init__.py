"""Clients that others have written, at clusters of several workers (`scripts/test-clients`)."""
