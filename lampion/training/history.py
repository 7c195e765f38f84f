"""History: a row of numbers for each epoch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from typing import Any

from lampion.utils.files import write_file


class History:
    """A row of numbers for each epoch; all rows have the same names.

    >>> from lampion.training import History
    >>> history = History()
    >>> history.add(epoch=1, loss=2.1)
    >>> history.add(epoch=2, loss=0.9)
    >>> history["loss"]
    [2.1, 0.9]
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, **values: Any) -> None:
        """Append a row."""
        if self.rows and values.keys() != self.rows[0].keys():
            raise ValueError(f"History.add: expected the names {list(self.rows[0])}, got {list(values)}")
        self.rows.append(values)

    def __getitem__(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def _repr_html_(self) -> str:
        from lampion.viz.notebook import history_html

        return history_html(self)

    def _repr_markdown_(self) -> str:
        from lampion.viz.notebook import history_markdown

        return history_markdown(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows as a CSV file with a line of names."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]) if self.rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(path, text.getvalue())
