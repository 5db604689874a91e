from dataclasses import replace

import pytest

from dashboards.scope import Scope, ScopeError, devices_in, narrowed, silence_ms, stale_ms
from models.site import Device, Network, Unit
from store.protocol import Select
from tests.support.board_data import make_site


@pytest.mark.parametrize(
    ("device_class", "interval_s", "stale_s", "silent_s"),
    [
        ("substation", 10, 30, 900),
        ("substation", 900, 2700, 9000),
        ("meter", None, 900, 3000),
        ("truck", 1, 30, 900),
        ("weighbridge", 10, 86_400, 7 * 86_400),
        ("lab", None, 86_400, 7 * 86_400),
    ],
)
def test_how_old_a_reading_may_be_follows_from_the_interval(device_class, interval_s, stale_s, silent_s):
    device = Device("d", device_class, "u", "u", interval_s=interval_s)
    assert (stale_ms(device), silence_ms(device)) == (1000 * stale_s, 1000 * silent_s)


def test_a_question_is_narrowed_to_unit_region_or_device():
    select = Select("reading", latest=True)
    assert narrowed(select, Scope(), to_device=False) == select
    assert narrowed(select, Scope("north"), to_device=False).regions == ("north",)
    assert narrowed(select, Scope("north", "donghe"), to_device=False).units == ("donghe",)
    assert narrowed(select, Scope(device="sub-01"), to_device=True).keys == ("sub-01",)


def test_keys_that_name_the_network_become_those_of_the_scopes_networks():
    site = make_site(3)
    unit = Unit("xihe", "north", "")
    networks = {n: Network(n, u, "") for n, u in (("n-1", "donghe"), ("n-2", "donghe"), ("n-3", "xihe"))}
    site = replace(site, units={**site.units, "xihe": unit}, networks=networks)
    select = Select("load_forecast", keys=("{network}:24",))
    every = narrowed(select, Scope(), to_device=False, site=site)
    assert every.keys == ("n-1:24", "n-2:24", "n-3:24")
    assert narrowed(select, Scope("north", "xihe"), to_device=False, site=site).keys == ("n-3:24",)
    nowhere = narrowed(select, Scope("south"), to_device=False, site=site)
    assert nowhere.keys == select.keys, "no key at all would ask for every row"


def test_devices_of_a_scope():
    site = make_site(3)
    assert len(devices_in(site, Scope())) == 11
    assert devices_in(site, Scope(region="north")) == devices_in(site, Scope())
    assert devices_in(site, Scope(unit="other")) == []
    assert devices_in(site, Scope(region="south")) == []


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (Scope(region="mars"), "expected a region of the registry, got 'mars'"),
        (Scope(unit="mars"), "expected a unit of the registry, got 'mars'"),
        (Scope(device="x" * 200), "expected a device of the registry, got '" + "x" * 80 + "'"),
    ],
)
def test_a_scope_that_the_registry_does_not_know_is_named(scope, said):
    with pytest.raises(ScopeError) as error:
        scope.check(make_site(1))
    assert str(error.value) == said
