"""Thin wrappers of what the kernel offers: processes, channels, memory, limits. No decisions."""
