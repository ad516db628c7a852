"""An import that fails inside the application."""


def connect() -> None:
    raise ConnectionError("no database at db:5432")


connect()
