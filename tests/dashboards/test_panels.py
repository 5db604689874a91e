from dashboards.language import LANGUAGES
from dashboards.panels import FRAME_FEEDS, Band, pages, panel
from models.measurements import known


def test_pages_are_found_in_order_and_panel_ids_are_unique():
    assert [p.id for p in pages()] == [
        "overview", "network", "water", "loads", "substation", "logistics", "contracts", "coal", "alarms", "trust",
    ]  # fmt: skip
    ids = [p.id for page in pages() for p in page.panels]
    assert len(ids) == len(set(ids))
    for page in pages():
        for p in page.panels:
            assert panel(p.id) == (page, p)


def test_every_panel_says_its_title_in_both_languages_and_follows_feeds_that_its_page_has():
    for page in pages():
        feeds = {f.name for f in page.feeds} | {"status"}
        for p in page.panels:
            texts = [p.title, *(t for t in (p.note, p.absent) if t), *(s.label for s in p.series)]
            texts += [t for _, t, _ in p.columns]
            assert all(t.en.strip() and t.zh.strip() for t in texts), p.id
            assert set(p.feeds) <= feeds, p.id
    assert set(LANGUAGES) == {"zh", "en"}


def test_a_table_without_rows_says_why():
    """What is wrong and is not there is good news, which the board words itself."""
    good_news = {"losses", "dead_letters", "restatements", "actors"}
    silent = [
        p.id
        for page in pages()
        for p in page.panels
        if p.kind == "table" and p.absent is None and not p.codes and p.feeds[0] not in good_news
    ]
    assert silent == []


def test_series_of_readings_name_measurements_of_the_table():
    for page in pages():
        for p in page.panels:
            for s in p.series:
                if s.select.measurement == "reading":
                    assert s.field in known, (p.id, s.field)
                if s.band is not None and s.band.around:
                    assert s.band.around in known
                assert s.band is None or isinstance(s.band, Band)


def test_a_panel_fits_the_twelve_columns_of_its_page():
    for page in pages():
        row = 0
        for p in page.panels:
            assert 1 <= p.width <= 12
            if p.kind != "tile":
                row += p.width * p.height
        assert row % 12 == 0, page.id


def test_of_the_newest_rows_that_every_page_has_those_of_the_last_minutes_are_read_each_second():
    newest = [feed for feed in FRAME_FEEDS if feed.select.latest]
    assert newest
    assert all(feed.recent_ms is not None and feed.recent_ms <= 3_600_000 for feed in newest)


def test_the_contracts_tiles_have_every_term_of_what_is_on_the_way():
    """`loaded + unmatched = received + lost + in_transit + transit_residual`: who adds them up gets there."""
    terms = {"loaded", "unmatched", "received", "lost", "in_transit", "transit_residual"}
    contracts = next(page for page in pages() if page.id == "contracts")
    tiles = [p for p in contracts.panels if p.kind == "tile"]
    assert {f"{term}_kg" for term in terms} <= {s.field for p in tiles for s in p.series}
    [received] = [p for p in tiles if p.id == "funnel_received"]
    assert (received.note.en, received.note.zh) == ("of which no loading is known", "后者：其中无装车记录")
