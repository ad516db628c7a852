"""Give connections to other workers, and take theirs."""
