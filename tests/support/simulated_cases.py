"""Runs of the simulator with a fault in it, and what comes of them."""

import json
import pickle

import pyarrow.parquet as pq
import pytest

from simulator.case import parse
from simulator.simulate import run
from simulator.truth import NetworkTruth

HEAD = """seed = {seed}
start = 2026-01-10T{at:02}:00:00Z
hours = {hours}
interval_s = {interval}
{site}
"""
UNIT = "[unit]\nsubstations = {substations}\ntrucks = {trucks}\n"

# A fault of every kind: place and size.
EXAMPLES = {
    "leak": ("n-02", 2.0),
    "supply_leak": ("n-02", 2.0),
    "draw_off": ("n-02", 6.0),
    "flushing": ("n-02", 40.0),
    "secondary_leak": ("sub-02", 0.3),
    "internal_leak": ("sub-02", 0.1),
    "insulation_loss": ("pipe-01", 6.0),
    "fouling": ("sub-02", 0.6),
    "clogged_strainer": ("sub-02", 0.7),
    "stuck_valve": ("sub-02", 0.9),
    "hunting": ("sub-02", 0.4),
    "air": ("sub-02", 0.3),
    "pump_trip": ("sub-02", None),
    "flow_bias": ("sub-02", 0.1),
    "flow_drift": ("sub-02", 0.5),
    "supply_bias": ("sub-02", 3.0),
    "return_bias": ("sub-02", 3.0),
    "calculator_bias": ("sub-02", 0.15),
    "sensors_swapped": ("sub-02", None),
    "sensor_broken": ("sub-02", 850.0),
    "wrong_mounting": ("sub-02", None),
    "frozen": ("sub-02", None),
    "counter_reset": ("sub-02", None),
    "counter_exchange": ("sub-02", 30.0),
    "counter_rollover": ("sub-02", 10_000.0),
    "counter_spike": ("sub-02", 50.0),
    "clock_skew": ("sub-02", 120.0),
    "clock_jitter": ("sub-02", 8.0),
    "drop_out": ("sub-02", 0.3),
    "device_off": ("sub-02", None),
    "resend": ("sub-02", 0.3),
    "outage": ("sub-02", None),
}


@pytest.fixture(scope="module")
def warm_up_once():
    """Warm up each network once a module: cases that differ in what goes wrong later begin as the first did."""
    warm_up, warm = NetworkTruth.warm_up, {}

    def once(truth):
        cold = pickle.dumps(vars(truth))
        if cold not in warm:
            warm_up(truth)
            warm[cold] = pickle.dumps(vars(truth))
        vars(truth).update(pickle.loads(warm[cold]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NetworkTruth, "warm_up", once)
        yield


def example(kind, **more):
    """A fault of `kind` as its table in a case."""
    place, size = EXAMPLES[kind]
    fault = {"kind": kind, "place": place, "onset_h": 1.0, **more}
    return fault if size is None or "size" in more else {**fault, "size": size}


def case_text(*faults, hours=3, interval=60, substations=6, trucks=0, seed=3, top="", tables="", at=0):
    """A case as a file says it; it begins `at` an hour of 2026-01-10 UTC."""
    site = UNIT.format(substations=substations, trucks=trucks) if "site" not in top else ""
    text = HEAD.format(seed=seed, hours=hours, interval=interval, at=at, site=f"{top}\n{site}{tables}")
    for fault in faults:
        text += "[[fault]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in fault.items())
    return text


def simulated(out, *faults, read_site=None, read_text=None, **options):
    """Run a case into `out`; its balances must close."""
    text = case_text(*faults, **options)
    more = {"read_text": read_text} if read_text else {}
    done = run(parse("case.toml", text, read_site, **more), out)
    assert done.closure.closes
    assert max(done.closure.energy_error, done.closure.mass_error) < 1e-9
    return out


def samples(out, device):
    """What a device said, in the order of receipt, each with `received_ms` and `seq`."""
    said = []
    for row in pq.read_table(out / "telemetry.parquet").to_pylist():
        if row["topic"].endswith(f"/{device}/telemetry"):
            payload = json.loads(row["payload"])
            said += [
                {**sample, "received_ms": row["received_ms"], "seq": payload["seq"]}
                for sample in payload["samples"]
            ]
    return said


def faults_told(out):
    """What the truth says of the faults."""
    return json.loads((out / "truth_faults.json").read_text(encoding="utf-8"))["faults"]


def network_truth(out, name):
    """A column of the network's truth."""
    return pq.read_table(out / "truth_network.parquet")[name].to_numpy()
