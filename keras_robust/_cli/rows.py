"""Rows of several files that belong together: by an id, or one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_robust._cli.complaints import complaint


def joined(tables: list[Any], name: str) -> None:
    """Brings the rows of all tables into the order of the first, by their ids."""
    ids = {table.path: table.text(name, "--id-column") for table in tables}
    first, expected = next(iter(ids.items()))
    for table in tables:
        own = ids[table.path]
        order = np.argsort(own, kind="stable")
        twice = np.flatnonzero(own[order][1:] == own[order][:-1])
        if len(twice):
            received = f"{own[order][twice[0]]!r} in two rows"
            fix = "An id stands for one row."
            raise complaint(table.path, name, "of different ids", received, fix)
        found = np.minimum(np.searchsorted(own[order], expected), len(own) - 1)
        lacking = np.flatnonzero(own[order][found] != expected)
        if len(lacking) or len(own) != len(expected):
            what = f"no row {expected[lacking[0]]!r}" if len(lacking) else ""
            more = sorted(set(own) - set(expected))
            received = what or f"a row {more[0]!r}, which is not there"
            fix = "Every file needs the same rows, in whatever order."
            raise complaint(table.path, name, f"the ids of {first}", received, fix)
        table.take(order[found])


def without_missing(tables: list[Any], names: list[list[str]]) -> list[str]:
    """Leaves out rows in which a table lacks a value; returns what to say of it."""
    lacking = [
        np.any(
            [table.missing(name) for name in of_table if name in table.names], axis=0
        )
        for table, of_table in zip(tables, names)
    ]
    _check_same([len(x) for x in lacking], tables)
    away = np.any(lacking, axis=0)
    for table in tables:
        table.take(np.flatnonzero(~away))
    return [f"dropped: {int(away.sum())} of {len(away)} rows, with something missing"]


def check_lengths(tables: list[Any], names: list[list[str]]) -> None:
    """Raises where columns that belong together have different numbers of rows."""
    _check_same([t.num_rows(used) for t, used in zip(tables, names)], tables)


def _check_same(sizes: list[int | None], tables: list[Any]) -> None:
    known = [(size, table) for size, table in zip(sizes, tables) if size is not None]
    for size, table in known:
        expected, first = known[0]
        if size != expected:
            fix = "Rows are paired one by one, or by --id-column."
            what = f"as many as in {first.path}, {expected}"
            raise complaint(table.path, "rows", what, f"{size} rows", fix)


def check_order(tables: list[Any], used: set[str]) -> None:
    """Raises where a column that is not used shows rows to be in another order.

    One of different values in every row, an id say, that are the same in both files.
    """
    first = tables[0]
    for table in tables[1:]:
        for name in [n for n in table.names if n in first.names and n not in used]:
            own, expected = table.key(name), first.key(name)
            if own is None or expected is None or len(own) != len(expected):
                continue
            differ = np.flatnonzero(own != expected)
            values = set(own.tolist())
            if not differ.size or len(values) < len(own) or values != set(expected):
                continue
            row = differ[0]
            received = f"another order: {own[row]!r} for {expected[row]!r} in row {row}"
            fix = (
                f"Join the rows with --id-column {name}, or pass --leave-out {name} if "
                "it does not say which rows belong together."
            )
            what = f"in the order of {first.path}, whose values it has"
            raise complaint(table.path, name, what, received, fix)


def agreed(
    tables: list[Any], name: str, option: str, read: Callable[[Any], np.ndarray]
) -> tuple[np.ndarray, Any]:
    """Returns a column that all tables which have it must agree on, and its table."""
    homes = [table for table in tables if name in table.names]
    first = (homes or tables)[0]  # which says what is missing
    values = read(first)
    for table in homes[1:]:
        own = read(table)
        if own.shape != values.shape:
            what = f"of the shape of that in {first.path}, {values.shape}"
            fix = "Rows are paired one by one, or by --id-column."
            raise complaint(table.path, name, what, f"the shape {own.shape}", fix)
        differ = (own != values).reshape(len(own), -1).any(axis=-1)
        if differ.any():
            row = int(np.flatnonzero(differ)[0])
            written = (t.values(name, option)[row] for t in (table, first))
            shown = [repr(np.asarray(value).tolist()) for value in written]
            fix = (
                f"If rows are in another order, join them by --id-column; if {name} of "
                f"{table.path} is to count for nothing, name the file with --labels "
                f"and pass --leave-out {name}."
            )
            received = (
                f"{int(differ.sum())} rows that differ, the first row {row}: "
                f"{shown[0]}, for {shown[1]} there"
            )
            what = f"that of {first.path}, row by row"
            raise complaint(table.path, name, what, received, fix)
    return values, first
