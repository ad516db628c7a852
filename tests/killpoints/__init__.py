"""Processes that are killed at each step of our code that writes shared memory or files."""
