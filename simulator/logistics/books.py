"""The books of contracts and yards in whole kilograms: every movement leaves one account for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from models.site import Contract

__all__ = ["ACCOUNTS", "Books", "Flow", "YardBook"]

ACCOUNTS: Final = (
    "unreleased", "unloaded", "cancelled", "in_transit", "lost", "unsettled", "settled", "rejected",
)  # fmt: skip
"""Where the kilograms of a contract are; at every instant they add up to what is planned."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One movement of a contract's kilograms, as it truly was and as its papers have it.

    Attributes
    ----------
    t_ms, paper_ms : int
        When it was, and which time its papers show. [ms UTC]
    contract : str
    event : str
        "release", "cancel", "load", "receive", "lose", "settle" or "reject".
    source, target : str
        Of `ACCOUNTS`.
    true_kg, paper_kg : int
    ref : str
        The ticket or the office's reference.
    """

    t_ms: int
    paper_ms: int
    contract: str
    event: str
    source: str
    target: str
    true_kg: int
    paper_kg: int
    ref: str


@dataclass(frozen=True, slots=True)
class YardBook:
    """One movement of a yard.

    Attributes
    ----------
    t_ms : int
        When it was. [ms UTC]
    unit : str
    event : str
        "opening", "receipt", "burn" or "survey".
    true_kg, paper_kg : int
        Added to what truly lies there, and to what the books say.
    ref : str
    """

    t_ms: int
    unit: str
    event: str
    true_kg: int
    paper_kg: int
    ref: str


_MOVES: Final = {
    "release": ("unreleased", "unloaded"),
    "cancel": ("unloaded", "cancelled"),
    "load": ("unloaded", "in_transit"),
    "receive": ("in_transit", "unsettled"),
    "lose": ("in_transit", "lost"),
    "settle": ("unsettled", "settled"),
    "reject": ("unsettled", "rejected"),
}


@dataclass(slots=True)
class Books:
    """Movements of all contracts and yards.

    Attributes
    ----------
    flows : list of Flow
    yards : list of YardBook
    stock_kg : dict
        What truly lies in each unit's yard. [kg]
    booked_kg : dict
        What the books say of it. [kg]
    """

    flows: list[Flow] = field(default_factory=list)
    yards: list[YardBook] = field(default_factory=list)
    stock_kg: dict[str, int] = field(default_factory=dict)
    booked_kg: dict[str, int] = field(default_factory=dict)
    _paper: dict[str, dict[str, int]] = field(default_factory=dict)

    def open(self, contract: Contract) -> None:
        """A contract with its plan, all of it unreleased."""
        balances = dict.fromkeys(ACCOUNTS, 0)
        balances["unreleased"] = round(contract.planned_t * 1000.0)
        self._paper[contract.contract] = balances

    def balance(self, contract: str, account: str) -> int:
        """What the papers say of an account now. [kg]."""
        return self._paper[contract][account]

    def move(
        self,
        event: str,
        t_ms: int,
        contract: str,
        true_kg: int,
        paper_kg: int,
        ref: str,
        paper_ms: int | None = None,
    ) -> None:
        """Enter a movement of a contract."""
        source, target = _MOVES[event]
        balances = self._paper[contract]
        balances[source] -= paper_kg
        balances[target] += paper_kg
        at = t_ms if paper_ms is None else paper_ms
        self.flows.append(Flow(t_ms, at, contract, event, source, target, true_kg, paper_kg, ref))

    def yard(self, event: str, t_ms: int, unit: str, true_kg: int, paper_kg: int, ref: str = "") -> None:
        """Enter a movement of a yard."""
        self.stock_kg[unit] = self.stock_kg.get(unit, 0) + true_kg
        self.booked_kg[unit] = self.booked_kg.get(unit, 0) + paper_kg
        self.yards.append(YardBook(t_ms, unit, event, true_kg, paper_kg, ref))
