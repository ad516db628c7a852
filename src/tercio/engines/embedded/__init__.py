"""Engines on this machine alone, without a server: rings in shared memory, LMDB, SQLite."""
