"""Messages between processes: topics, subscriptions, requests. What carries them is an engine's."""
