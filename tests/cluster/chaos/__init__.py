"""Chaos: faults in real processes. Every run plays a few; `scripts/chaos` plays many."""
