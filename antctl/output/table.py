"""Tables as upstream's antctl prints them: padded cells, ``<NONE>``, summarized lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LIMIT = 50  # characters of a list in one cell


def render(header: Sequence[str], rows: Iterable[Sequence[str]], sort: bool = False) -> str:
    """Every cell is padded to its column's width, the last one too. With one column: neither padding nor
    ``<NONE>``. ``sort`` orders the rows by their cells, compared as text."""
    body = [list(row) for row in rows]
    if sort:
        body.sort()
    if len(header) > 1:
        body = [[cell or "<NONE>" for cell in row] for row in body]
        widths = [max(len(row[column]) for row in [list(header), *body]) for column in range(len(header))]
    else:
        widths = [0]
    lines = [
        " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [list(header), *body]
    ]
    return "\n".join(lines) + "\n"


def summarize(items: Iterable[str], limit: int = LIMIT) -> str:
    """A sorted list within ``limit`` characters, the rest counted: ``a,b + 3 more...``.

    When even the count does not fit, items are taken away but the count is not corrected: upstream's tables
    do so, and scripts compare them.
    """
    ordered = sorted(items)
    text = ""
    for index, item in enumerate(ordered):
        candidate = f"{text},{item}" if index else item
        if index and len(candidate) > limit:
            rest = f" + {len(ordered) - index} more..."
            if len(text) + len(rest) > limit:
                text = ""
                for position, kept in enumerate(ordered):
                    longer = f"{text},{kept}" if position else kept
                    if position and len(longer) + len(rest) > limit:
                        break
                    text = longer
            return text + rest
        text = candidate
    return text


def generic(objects: Sequence[dict[str, object]], width: int = 15) -> str:
    """A table of values that no command has columns for: the first object's keys, cells at least 15 wide."""
    from antctl.output.text import plain

    if not objects:
        return "\n"
    header = list(objects[0])
    rows = [[_cell(plain(item.get(key))) for key in header] for item in objects]
    lines = [header, *rows]
    widths = [max(width, max(len(line[column]) for line in lines) + 1) for column in range(len(header))]
    return (
        "\n".join(
            "".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)) for line in lines
        )
        + "\n"
    )


def _cell(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).strip('"')
