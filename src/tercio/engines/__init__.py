"""What carries the bus and keeps the state: this process, shared memory, or Redis."""
