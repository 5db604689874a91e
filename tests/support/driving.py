"""One driver against its simulated device."""

from __future__ import annotations

from contextlib import closing, contextmanager

from edge.config import DeviceConfig
from edge.drivers import make
from edge.say import Complaints


def device(driver, options, *, name="d1", device_class="meter", interval_s=10):
    """A device of a configuration."""
    return DeviceConfig.model_validate(
        {
            "id": name,
            "region": "r",
            "unit": "u",
            "class": device_class,
            "interval_s": interval_s,
            "driver": driver,
            driver: options,
        }
    )


_ON_A_LINE = ("cjt188", "mbus", "modbus", "nmea", "weighbridge")
_LONGEST_S = 60


@contextmanager
def driving(driver, options, **more):
    """The driver, and all that it says; as patient as it may be, unless `options` say otherwise."""
    if driver in _ON_A_LINE:
        options = {"timeout_s": _LONGEST_S, **options}
    said = []
    with closing(make(device(driver, options, **more))) as made:
        made.complaints = Complaints(said.append)
        made.said = said
        yield made
