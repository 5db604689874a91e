"""What each contract's coal lost on the way and how its heat compares with papers, per contract month."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import hypot, isfinite
from typing import Final

import numpy as np
import pyarrow as pa

from models.coal_quality import dry_mj_kg, quality_gap
from models.local_month import days_ms
from models.site import Contract
from models.trip import mean_and_error, trucks_needed
from streams.core.entity_operator import Entity, EntityRow, Item, by_contract, entity_operator
from streams.operators.haulage_verdicts import DOUBTFUL, LOSS_TOLERANCE

__all__ = ["FIELDS", "contract_quality"]

FIELDS: Final = {
    **dict.fromkeys(("contract", "month", "seller"), pa.string()),
    **dict.fromkeys(("trucks", "trucks_needed", "lots", "lots_needed", "doubtful"), pa.int64()),
    **dict.fromkeys(
        ("loss_pct", "loss_u_pct", "q_mj_kg", "q_ref_mj_kg", "heat_short_pct", "heat_short_u_pct",
         "paper_pct"),
        pa.float64(),
    ),
}  # fmt: skip
_DAY_S: Final = 86_400
_AFTER_D: Final = 10
"""Days after its month in which a contract's last trips arrive and are analysed."""
_BRIDGES: Final = 0.001  # standard uncertainty that two verified bridges leave in the mean of many nets
_MOST: Final = 1_000_000


@entity_operator(
    by=by_contract,
    reads=("trip",),
    writes={"contract_quality": FIELDS},
    horizon_s=(31 + _AFTER_D + 2) * _DAY_S,
    reach_s=9 * _DAY_S,
    every_s=3_600,
    names=lambda site: site.contracts,
)
def contract_quality(entity: Entity) -> Iterator[EntityRow]:
    """Judge a contract by all its loads that both ends weighed without a doubt."""
    contract = entity.site.contracts.get(entity.name)
    if contract is None or contract.stream != entity.stream:
        return
    days = days_ms(contract.month, entity.site.timezone, _AFTER_D)
    month_end = days[-1 - _AFTER_D]
    received = [i for i in entity.of("trip") if i.values.get("received_ms") and days[0] <= i.t < month_end]
    loads = [i for i in received if not _doubtful(i)]
    if received:
        values = {
            "contract": contract.contract, "month": contract.month, "seller": contract.seller,
            "doubtful": len(received) - len(loads), "q_ref_mj_kg": contract.q_ref_mj_kg,
            **_loss(loads), **_heat(loads, contract),
        }  # fmt: skip
        yield EntityRow(
            "contract_quality", f"{contract.contract}:{contract.month}", days[0], month_end - days[0],
            contract.unit, values, days[-1],
        )  # fmt: skip


def _doubtful(trip: Item) -> bool:
    flags = set((trip.values.get("flags") or "").split(";"))
    return bool(DOUBTFUL & flags) or trip.values.get("loss_pct") is None


def _loss(loads: Sequence[Item]) -> dict[str, float | int | None]:
    """Mean transit loss where both moistures are known, else of all; trucks that a verdict needs."""
    mine = [i for i in loads if "no_moisture" not in (i.values.get("flags") or "")] or loads
    losses = np.array([i.values["loss_pct"] for i in mine], dtype=np.float64)
    mean, sigma, error = mean_and_error(losses)
    needed = trucks_needed(abs(mean - 100.0 * LOSS_TOLERANCE), sigma) if isfinite(sigma) else float("inf")
    return {
        "trucks": len(mine), "loss_pct": mean, "loss_u_pct": 2.0 * hypot(error, 100.0 * _BRIDGES),
        "trucks_needed": int(needed) if needed < _MOST else None,
    }  # fmt: skip


def _heat(loads: Sequence[Item], contract: Contract) -> dict[str, float | int | None]:
    """Heat as received beside the contract's, and what dry coal lacks against its certificates, by lots."""
    names = ("loaded_q_mj_kg", "loaded_moisture_pct", "q_mj_kg", "received_moisture_pct")
    assayed = [tuple(i.values.get(n) for n in names) for i in loads]
    lots = sorted({a for a in assayed if None not in a})
    sent, sent_wet, found, found_wet = np.array(lots, dtype=np.float64).reshape(-1, 4).T
    gap = quality_gap(dry_mj_kg(sent, sent_wet), dry_mj_kg(found, found_wet))
    known = [(i.values["received_kg"], i.values["q_mj_kg"]) for i in loads if i.values.get("q_mj_kg")]
    kg = sum(mass for mass, _ in known)
    mean = sum(mass * q for mass, q in known) / kg if kg else float("nan")
    paper = 100.0 * (mean / contract.q_ref_mj_kg - 1.0) if contract.q_ref_mj_kg else float("nan")
    return {
        "q_mj_kg": mean, "paper_pct": paper, "lots": gap.lots, "lots_needed": gap.needed or None,
        "heat_short_pct": gap.short_pct, "heat_short_u_pct": gap.u_pct,
    }  # fmt: skip
