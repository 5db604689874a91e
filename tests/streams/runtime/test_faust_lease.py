"""A worker may write only while the broker cannot have replaced it."""

from streams.runtime.faust_lease import Lease, boot_time_s


class _Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_no_heartbeat_no_lease():
    assert not Lease(6.0, _Clock()).valid


def test_a_lease_runs_from_the_sending_of_a_heartbeat_not_from_its_answer():
    clock = _Clock()
    lease = Lease(6.0, clock)
    sent = lease.now()
    clock.now += 5.0  # a slow answer
    lease.renew(sent)
    assert lease.valid
    clock.now += 1.0
    assert not lease.valid


def test_an_answer_that_overtakes_does_not_shorten_the_lease():
    clock = _Clock()
    lease = Lease(6.0, clock)
    lease.renew(100.0)
    lease.renew(99.0)
    assert lease.age() == 0.0


def test_a_stopped_process_finds_its_lease_expired():
    clock = _Clock()
    lease = Lease(6.0, clock)
    lease.renew(lease.now())
    clock.now += 7.0
    assert not lease.valid
    assert lease.age() == 7.0


def test_the_default_clock_goes_forward():
    assert 0 < boot_time_s() <= boot_time_s()
