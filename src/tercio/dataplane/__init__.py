"""Shared memory that workers write and anyone in the cluster reads."""
