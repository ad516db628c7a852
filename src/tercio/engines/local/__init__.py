"""Engines within one process, with the same semantics: for plain processes and tests."""
