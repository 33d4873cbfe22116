"""Entities read from the tags of a sentence, as seqeval reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_robust._inputs import checks

# What the tag of an entity's first, inner, last and only token begins with.
SCHEMES = {
    "IOB2": ("B", "I", "I", "B"),
    "IOBES": ("B", "I", "E", "S"),
    "BILOU": ("B", "I", "L", "U"),
    "conlleval": ("B", "I", "I", "B"),
}


class Span(NamedTuple):
    """An entity: its first token, the one after its last, and its type."""

    start: int
    end: int
    type: str


class Tags:
    """Names of tag ids, and how entities are read from them.

    Args:
        owner: Who is told, for errors.
        names: `["O", "B-PER", "I-PER", ...]`, in the order of the ids.
        scheme: One of `SCHEMES`.
    """

    def __init__(self, owner: str, names: Any, scheme: Any) -> None:
        fix = "conlleval is IOB2 with entities that may begin with an I- tag."
        self.scheme = checks.choice(owner, "scheme", scheme, tuple(SCHEMES), fix=fix)
        prefixes = sorted(set(SCHEMES[scheme]))
        self.names = [str(name) for name in names]
        bad = [
            name
            for name in self.names
            if name != "O" and (name[:1] not in prefixes or name[1:2] != "-")
        ]
        if bad or len(set(self.names)) != len(self.names) or "O" not in self.names:
            wanted = ", ".join(f'"{prefix}-..."' for prefix in prefixes)
            raise checks.invalid(
                owner,
                "tags",
                f'names of {scheme}, each once: "O", {wanted}',
                f"{bad} among them" if bad else f"tags={self.names!r}",
                "List the names in the order of their ids, and name their scheme.",
            )
        self._parts = [(name[:1], name[2:]) for name in self.names]

    def spans(self, ids: Sequence[int]) -> list[Span]:
        """Returns the entities of a sentence; what is none in the scheme is out."""
        first, inner, last, only = SCHEMES[self.scheme]
        begins = (first, inner) if self.scheme == "conlleval" else (first,)
        found, start, kind = [], None, ""
        for i, (prefix, name) in enumerate([*(self._parts[k] for k in ids), ("O", "")]):
            goes_on = start is not None and name == kind and prefix in (inner, last)
            if not goes_on:
                if start is not None and last == inner:  # nothing marks its end
                    found.append(Span(start, i, kind))
                start = None
            if prefix == only != first:
                found.append(Span(i, i + 1, name))
            elif goes_on and prefix == last != inner:
                found.append(Span(start, i + 1, kind))
                start = None
            elif not goes_on and prefix in begins:
                start, kind = i, name
        return found
