"""Print for people: control characters made visible, plain tables, colours on a terminal only.

Names, paths and errors come from applications and from other users' clusters, so nothing from
outside reaches a terminal raw (an escape sequence in a worker's error could retitle a window or
forge lines).
"""

from collections.abc import Sequence

import click


def escape(text: object, *, lines: bool = False) -> str:
    """The text with everything unprintable as ``\\x1b``; ``lines`` keeps line breaks and tabs."""
    whole = str(text)
    if whole.isprintable():
        return whole
    kept = "\n\t" if lines else ""
    return "".join(
        character
        if character.isprintable() or character in kept
        # \x1b, \u202e, \udcff (an undecodable byte), without the quotes
        else character.encode("unicode_escape", "backslashreplace").decode()
        for character in whole
    )


def say(text: object = "", *, lines: bool = False, err: bool = False) -> None:
    """Print one line, or with ``lines`` several, escaped."""
    click.echo(escape(text, lines=lines), err=err)


def say_error(message: object) -> None:
    """Print an error to standard error, after ``tercio:`` as other commands do."""
    head = click.style("tercio:", fg="red", bold=True)
    click.echo(f"{head} {escape(message, lines=True)}", err=True)


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()
) -> list[str]:
    """Lines of columns two spaces apart; ``right`` names the columns of numbers. Escapes."""
    cells = [[escape(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return lines
