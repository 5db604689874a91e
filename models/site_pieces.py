"""Which nodes pipes join: the pieces that a network of pipes is in."""

from __future__ import annotations

__all__ = ["Pieces"]


class Pieces:
    """Nodes by the piece they lie in, as pipes are added (union-find, path halving).

    Examples
    --------
    >>> pieces = Pieces()
    >>> pieces.join("a", "b"), pieces.join("b", "c"), pieces.join("c", "a")
    (True, True, False)
    >>> pieces.of("a") == pieces.of("c"), pieces.of("a") == pieces.of("x")
    (True, False)
    """

    def __init__(self) -> None:
        self._leads: dict[str, str] = {}

    def of(self, node: str) -> str:
        """The node that stands for the piece of `node`."""
        leads = self._leads
        while leads.setdefault(node, node) != node:
            leads[node] = leads[leads[node]]
            node = leads[node]
        return node

    def join(self, one: str, other: str) -> bool:
        """Add a pipe; False if its ends were joined already: it closes a loop."""
        first, second = self.of(one), self.of(other)
        self._leads[first] = second
        return first != second
