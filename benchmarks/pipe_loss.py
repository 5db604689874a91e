"""U learnt from arriving temperatures against what was simulated: ``python -m benchmarks.pipe_loss``.

Networks whose pipes lose more or less than registered, told for two weeks by sensors that are off, always by
the same. Known are those of which the data say more than the registry does; the rest is said to be unknown.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.machine import machine
from benchmarks.meter_days import Run, simulated_weeks
from models.pipe import REGISTERED_U_SHARE
from simulator.rng import generator
from streams.operators.pipe_loss import pipe_loss

FIRST_SEED = 70_000
DAYS = 14


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipe_loss", description=__doc__)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--substations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    given = parser.parse_args()
    print(f"machine: {machine()}; seeds from {given.seed}; a sample every 300 s", flush=True)
    for seed in range(given.seed, given.seed + given.networks):
        weeks = simulated_weeks(seed, given.substations, DAYS)
        run = Run.of(weeks, seed + 500)
        run.learners = {pipe_loss: None}
        last = list(run.until(int(weeks.day.t_ms[-1])))[-1]
        true = float(np.exp(REGISTERED_U_SHARE * generator(seed, "as built").standard_normal(2)[0]))
        said = "unknown" if last["u_factor"] is None else f"{last['u_factor']:.3f}"
        print(
            f"seed {seed}: learnt {said} ± {last['u_factor_u']:.3f} (k = 2), true {true:.3f}, "
            f"mean drop {last['drop_k']:.2f} K, {last['days']:.0f} days",
            flush=True,
        )


if __name__ == "__main__":
    main()
