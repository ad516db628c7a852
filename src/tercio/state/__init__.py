"""What workers share: values, counters, locks, queues, groups and rate limits."""
