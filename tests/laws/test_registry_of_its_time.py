"""However late data comes, its windows go by the registry of when they were due, as if it had come in time."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from models.frame import Frame, Record
from streams.core.operator import NetworkOperator, WindowOperator, discovered
from tests.support.examples import SEEDS, law
from tests.support.restating import StoredStream
from tests.support.telemetry import T0, Log, Message, history, registry_frame, telemetry_frames, with_water

HOUR_MS = 3_600_000
SHARE = 0.05
FROM_MS, UNTIL_MS = T0 + HOUR_MS, T0 + 2 * HOUR_MS
"""Between which data comes and registries change, but for an hour before."""
COMPARED = [o.name for o in discovered() if isinstance(o, WindowOperator | NetworkOperator)]
SITE = (
    '[site]\nid = "s"\nname = "test"\ntimezone = "Asia/Shanghai"\nlateness_s = {lateness_s}\n'
    '[[region]]\nid = "r1"\nname = "north"\n[[region]]\nid = "r2"\nname = "south"\n'
    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n[[unit]]\nid = "u2"\nregion = "r2"\nname = "two"\n'
    '[[network]]\nid = "n1"\nunit = "u1"\nname = "net"\nreturn_ref_c = {return_ref_c}\nwindow_s = {window_s}\n'
    '[[network]]\nid = "n2"\nunit = "u2"\nname = "other"\nreturn_ref_c = 45\nwindow_s = 3600\n'
)
HEAD = "device,class,unit,stream,network,qp_m3_h,accuracy_class,dt_min_k,mounting,interval_s\n"
KINDS = {
    "plant": ("plant", 60),
    "sub-1": ("substation", 60),
    "sub-2": ("substation", 60),
    "meter-1": ("meter", 600),
}


class Registered:
    """A registry that is changed at random, its devices all in one stream."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self._site = {"lateness_s": 900, "return_ref_c": 45, "window_s": 3600}
        self.devices = {d: {"at": "n1", "qp": 20, "class": 2, "mounting": "return"} for d in KINDS}

    def texts(self) -> dict[str, str]:
        rows = []
        for name, d in self.devices.items():
            kind, interval_s = KINDS[name]
            unit = "u1" if d["at"] == "n1" else "u2"
            rows.append(
                f"{name},{kind},{unit},u1,{d['at']},{d['qp']},{d['class']},3,{d['mounting']},{interval_s}\n"
            )
        return {"site.toml": SITE.format(**self._site), "devices.csv": HEAD + "".join(rows)}

    def change(self) -> None:
        rng = self._rng
        for _ in range(rng.randint(1, 3)):
            mine = self.devices[rng.choice(list(self.devices))]
            match rng.randrange(7):
                case 0 | 1:
                    mine["at"] = "n2" if mine["at"] == "n1" else "n1"
                case 2:
                    mine["qp"] = rng.choice([3, 20, 60])
                case 3:
                    mine["class"] = rng.choice([1, 2, 3])
                case 4:
                    mine["mounting"] = "supply" if mine["mounting"] == "return" else "return"
                case 5:
                    self._site["lateness_s"] = rng.choice([900, 1500])
                case 6:
                    self._site["return_ref_c"] = rng.choice([40, 45])


def records_of(
    arrivals: list[tuple[int, Message]], registries: list[tuple[int, dict[str, str]]], to_ms: int
) -> list[Record]:
    """Messages as they arrive, registries at their times, and heartbeats that are the same whoever is late."""
    beats = {*range(T0, to_ms, 300_000), *(at - 1 for at, _ in registries[1:])}
    items = [(at, 0, Frame.heartbeat()) for at in beats]
    items += [(at, 1, registry_frame(texts)) for at, texts in registries]
    items += [(at, 2, frame) for at, m in arrivals for frame in telemetry_frames([m])]
    log = Log()
    return [log.append(frame, at) for at, _, frame in sorted(items, key=lambda x: x[:2])]


def said(path, records: list[Record], crash_at: frozenset[int] = frozenset()) -> dict[str, dict]:
    stream = StoredStream(path, write_every=70)
    for i, record in enumerate(records):
        stream.step(record.frame, record.timestamp_ms)
        if i in crash_at:
            stream.crash()
    stream.settle()
    rows = {name: stream.rows(name, "revision") for name in COMPARED}
    return {
        name: {
            k: r for k, r in of.items() if k[1] + r["window_ms"] <= UNTIL_MS and r["status"] != "withdrawn"
        }
        for name, of in rows.items()
    }


@law(gate=1, soak=40, seed=SEEDS, crashes=st.sampled_from([4, 0]))
def test_late_data_goes_by_the_registry_of_its_time(seed: int, crashes: int, tmp_path_factory) -> None:
    rng = random.Random(seed)
    registered, to_ms = Registered(rng), UNTIL_MS + 2 * HOUR_MS
    registries = [(T0 - 1000, registered.texts())]
    for at in sorted(rng.sample(range(FROM_MS, UNTIL_MS), 3)):
        registered.change()
        registries.append((at, registered.texts()))
    messages = with_water(history(seed, hours=(UNTIL_MS - T0) / HOUR_MS), seed)
    in_time = [(m.newest_t + 500, m) for m in messages]
    late = [
        (at + (rng.randint(60_000, int(1.9 * HOUR_MS)) if rng.random() < SHARE else 0), m)
        for at, m in in_time
    ]
    home = tmp_path_factory.mktemp("registries")
    wanted = said(home / "a.duckdb", records_of(in_time, registries, to_ms))
    records = records_of(sorted(late, key=lambda a: (a[0], a[1].device, a[1].seq)), registries, to_ms)
    crash_at = frozenset(rng.sample(range(2, len(records)), crashes))
    got = said(home / "b.duckdb", records, crash_at)
    for name in COMPARED:
        assert wanted[name], name
        assert {r["status"] for r in wanted[name].values()} <= {"final", "unknown"}
        assert got[name] == wanted[name], name


def open_rows(rows: dict[str, dict]) -> list[tuple[str, tuple[str, int]]]:
    return [(name, key) for name, of in rows.items() for key, r in of.items() if r["status"] == "provisional"]


def test_what_a_registry_takes_from_a_network_leaves_no_row_open(tmp_path) -> None:
    """The other network has a plant and a substation for half an hour; by when its window is due it has none."""
    registered = Registered(random.Random(0))
    registries = [(T0 - 1000, registered.texts())]
    for minutes, network in ((70, "n2"), (100, "n1")):
        for name in ("plant", "sub-1"):
            registered.devices[name]["at"] = network
        registries.append((T0 + minutes * 60_000, registered.texts()))
    in_time = [(m.newest_t + 500, m) for m in with_water(history(1, hours=2.0), 1)]
    stream = StoredStream(tmp_path / "a.duckdb")
    for record in records_of(in_time, registries, T0 + 4 * HOUR_MS):
        stream.step(record.frame, record.timestamp_ms)
        stream.write()
        if record.timestamp_ms == T0 + 90 * 60_000:
            told = stream.rows("network_heat")["n2", T0 + HOUR_MS]
            assert told["status"] == "provisional"
    stream.settle()
    rows = {name: stream.rows(name) for name in COMPARED}
    assert rows["network_heat"]["n2", T0 + HOUR_MS]["status"] == "withdrawn"
    assert rows["network_heat"]["n1", T0 + HOUR_MS]["status"] in {"final", "unknown"}
    settled = {name: {k: r for k, r in of.items() if k[1] < T0 + 3 * HOUR_MS} for name, of in rows.items()}
    assert open_rows(settled) == []


def test_a_substation_registered_later_is_not_in_windows_of_before(tmp_path) -> None:
    registered = Registered(random.Random(0))
    del registered.devices["sub-2"]
    registries = [(T0 - 1000, registered.texts())]
    registered.devices["sub-2"] = {"at": "n1", "qp": 20, "class": 2, "mounting": "return"}
    registries.append((T0 + 2 * HOUR_MS, registered.texts()))
    messages = with_water(history(2, hours=3.0), 2)
    late = [m for m in messages if m.device == "sub-1" and T0 + 600_000 < m.newest_t < T0 + 1_800_000]
    backlog = [m for m in messages if m.device == "sub-2" and m.newest_t < T0 + 2 * HOUR_MS]

    def run(path, back_ms: int, *, whole: bool) -> dict[str, dict]:
        arrivals = [(m.newest_t + 500, m) for m in messages if m not in late and m not in backlog]
        arrivals += [(m.newest_t + 500 + back_ms, m) for m in late]
        arrivals += [(T0 + 2 * HOUR_MS + 60_000, m) for m in backlog if whole]
        stream = StoredStream(path)
        for record in records_of(sorted(arrivals, key=lambda a: a[0]), registries, T0 + 5 * HOUR_MS):
            stream.step(record.frame, record.timestamp_ms)
        stream.settle()
        return {name: stream.rows(name, "revision") for name in COMPARED}

    wanted = run(tmp_path / "a.duckdb", 0, whole=False)
    got = run(tmp_path / "b.duckdb", int(2.2 * HOUR_MS), whole=True)
    first = "n1", T0
    assert wanted["network_heat"][first]["status"] in {"final", "unknown"}
    assert got["network_heat"][first] == wanted["network_heat"][first]
    # Its own windows are computed all the same: it was there, though nobody had registered it.
    mine = {start: r["status"] for (key, start), r in got["device_heat"].items() if key == "sub-2"}
    assert {mine[T0 + n * 900_000] for n in range(8)} <= {"final", "unknown"}


def test_a_first_network_has_rows_from_when_it_was_registered(tmp_path) -> None:
    """What networks read of before was not kept until there was one: the store has it."""
    registered = Registered(random.Random(0))
    alone = registered.texts()
    alone["site.toml"] = alone["site.toml"].split("[[network]]")[0]
    alone["devices.csv"] = alone["devices.csv"].replace(",n1,", ",,")
    registries = [(T0 - 1000, alone), (T0 + 2 * HOUR_MS + 600_000, registered.texts())]
    in_time = [(m.newest_t + 500, m) for m in with_water(history(3, hours=6.0), 3)]
    stream = StoredStream(tmp_path / "a.duckdb")
    for record in records_of(in_time, registries, T0 + 7 * HOUR_MS):
        stream.step(record.frame, record.timestamp_ms)
    stream.settle()
    for name in ("network_heat", "network_water"):
        rows = {start: r["status"] for (_, start), r in stream.rows(name).items()}
        hours = [T0 + n * HOUR_MS for n in range(1, 6)]  # the first was not due yet
        assert {rows.get(start) for start in hours} <= {"final", "unknown"}, name
        assert not [start for start in rows if start < hours[0]], name
