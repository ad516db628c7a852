"""A worker: a fresh interpreter that serves the application, and tells its primary how it is."""
