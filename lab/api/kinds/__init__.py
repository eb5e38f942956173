"""One class per kind: names, defaults, validation, columns, selectable fields. Nothing here does I/O."""
