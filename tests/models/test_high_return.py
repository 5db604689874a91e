"""Returns that are high, and returns that the cold makes high in a whole network."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.fault_loops import high_return
from models.fault_watch import Watch, day_over

REFERENCE_C = 45.0


def told(returns_c):
    """Which consumers of one network are told of, by what each returned on a day; all with excess flow."""
    count = len(returns_c)
    watch = Watch().grown(count)
    kept = dict(watch.kept)
    kept["sum_volume"] = np.full(count, 10.0)
    kept["sum_return"] = 10.0 * np.array(returns_c)
    kept["sum_excess"] = np.full(count, 3.0)
    watch = day_over(Watch(watch.normal, watch.episodes, kept), [np.arange(count)])
    seen = SimpleNamespace(kept=watch.kept, return_ref_c=np.full(count, REFERENCE_C))
    verdict = high_return(seen)
    return verdict.on.tolist(), verdict.numbers["reference_c"].tolist()


def test_one_of_a_network_that_returns_cold_water():
    on, reference = told([40.0, 41.0, 39.0, 42.0, 52.0])
    assert on == [False, False, False, False, True]
    assert reference == [REFERENCE_C] * 5


def test_a_cold_day_is_nobodys_fault_and_one_beyond_it_is_told():
    on, reference = told([51.0, 50.5, 52.0, 51.5, 58.0, 51.0])
    assert on == [False] * 4 + [True, False]
    assert reference == pytest.approx([51.25] * 6)


def test_few_neighbours_are_no_reference():
    assert told([51.0, 52.0, 51.0])[0] == [True, True, True]
