"""What users of uvicorn rely on, row by row, of both servers. docs/servers.md has the table."""
