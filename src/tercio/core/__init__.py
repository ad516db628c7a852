"""What Tercio decides. Pure: no clock, no I/O, no hidden randomness; time is an argument."""
