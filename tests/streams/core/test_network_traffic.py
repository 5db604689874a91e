"""Flows and temperatures of a network as its pipes are followed by."""

import numpy as np

from models.site import Device
from streams.core.heat_meters import HeatMeters
from streams.core.network_traffic import traffic_of


def test_a_sensor_of_a_pipe_in_the_frost_leaves_the_flows_known():
    devices = [
        Device("plant", "plant", "u", "u", mounting="supply"),
        Device("sub", "substation", "u", "u", mounting="return"),
    ]
    steps = 4
    values = {
        "supply_c": np.tile([90.0, 80.0], (steps, 1)),
        "return_c": np.tile([50.0, -3.0], (steps, 1)),
        "volume_m3": np.tile([10.0, 0.5], (steps, 1)),
    }
    both = np.arange(2)
    meters = HeatMeters(devices, np.array([True, False]), values, slice(0, steps), both, both, 0)
    traffic = traffic_of(meters, None)
    assert traffic is not None
    assert np.isfinite(traffic.flow_kg).all()
    assert (traffic.return_c[:, 1] == 0.0).all()
