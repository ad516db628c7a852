"""Messages between the processes of a cluster: publish, subscribe, ask."""
