import re
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

import dashboards
from alerts.alarm import Phase
from dashboards.language import catalogue, choose, in_words, plain
from hearthline.server_health import _by_how_much
from ingest.messages import Reason
from models.anomaly import Severity
from models.fault_codes import CODES
from models.measurements import DEVICE_CLASSES, MEASUREMENTS
from models.results import Status
from models.wording import listed, tellable, worded
from streams.core.containing import FAILED
from streams.core.operator import LedgerOperator, NetworkOperator, WindowOperator, discovered
from streams.core.window_state import BACKLOG
from streams.operators.load_forecast import RECENT_MEAN
from tests.support.codes import codes_written
from tests.support.evidence import evidence_names, evidence_sentences
from tests.support.wordings import sources, unworded, wordings

ROOM = Path(dashboards.__file__).parent
SPEAKING = ("alerts", "dashboards", "hearthline", "ingest", "journal", "models", "store", "streams")
ASKED_FOR = {
    "who", "unit", "at", "network", "volume_m3", "stock_t", "ticket", "step", "note", "mass_kg", "plate",
    "contract", "event",
}  # fmt: skip
PLACEHOLDER = re.compile(r"\{\w+\}")


def spoken() -> set[str]:
    """Texts that the page's scripts and the frame look up."""
    found: set[str] = set()
    for path in (ROOM / "assets").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for call in re.findall(r"\bt\(((?:[^()]|\([^()]*\))*)\)", text):
            found.update(re.findall(r'"([^"]+)"', call.split(", {")[0]))
    for name in ("frame.py", "board.py", "sorry.py"):
        text = (ROOM / name).read_text(encoding="utf-8")
        found.update(re.findall(r'texts\["([^"]+)"\]', text))
    return found


def test_no_string_of_the_page_is_missing_in_either_language():
    said = spoken()
    assert len(said) > 50  # the search itself must find something
    missing = {
        language: sorted(t for t in said if not catalogue(language).get(t)) for language in ("zh", "en")
    }
    assert missing == {"zh": [], "en": []}


def test_what_the_server_says_of_itself_and_why_it_refuses_is_in_both_languages():
    said = [(path, *x) for path, tree in sources(ROOM.parent, SPEAKING) for x in wordings(tree)]
    texts = {text for _, _, text in said if text is not None}
    # The search itself must find something.
    assert {"expected an open alarm, got a closed one", "{n} streams", "{why}"} <= texts
    assert [x for x in said if x[2] is not None and not catalogue("zh").get(x[2])] == []


def test_nothing_is_refused_in_english_alone():
    raw = [(path, *x) for path, tree in sources(ROOM.parent, SPEAKING) for x in unworded(tree)]
    assert raw == []


def test_a_sentence_of_the_server_is_said_in_the_language_of_the_page():
    why = worded("it would be refused: {reasons}", reasons=listed(worded(x) for x in ("schema", "late")))
    assert (why, str(ValueError(why)) is why) == ("it would be refused: schema, late", True)
    assert in_words(why, catalogue("zh")) == "该录入会被拒绝：格式不符、数据迟到"
    assert in_words("DuckDB's own words", catalogue("zh")) == "DuckDB's own words"
    assert tellable(why)["with"]["reasons"]["with"]["1"] == {"say": "late", "with": {}}


@pytest.mark.parametrize(
    ("wrong_s", "en", "zh"),
    [(61, "sub-1 61 s ahead", "sub-1 快 61 秒"), (-7_000, "sub-1 2 h behind", "sub-1 慢 2 小时"),
     (34_560_000, "sub-1 400 d ahead", "sub-1 快 400 天")],
)  # fmt: skip
def test_how_far_a_clock_is_wrong_is_said_in_a_unit_that_people_would_take(wrong_s, en, zh):
    told = _by_how_much("sub-1", wrong_s)
    assert (in_words(told, catalogue("en")), in_words(told, catalogue("zh"))) == (en, zh)


def test_codes_that_data_brings_have_words():
    found = [codes_written(ROOM.parent / room) for room in ("streams/operators", "streams/core", "models")]
    reasons = {*map(str, Reason), *CODES, BACKLOG, FAILED, RECENT_MEAN, "late", "source"}.union(*found)
    # The search itself must find something.
    assert {"no_tank", "loop", "no_trace", "orphan_receipt"} <= reasons
    reasons |= {*ASKED_FOR, *map(str, Phase), "region"}
    reasons |= {*DEVICE_CLASSES, *map(str, Status), *map(str, Severity), "fresh", "stale", "silent", "never"}
    assert sorted(code for code in reasons if not catalogue("zh").get(code)) == []
    assert [code for code in reasons if "_" in catalogue("en")[code]] == []


def test_evidence_has_words_in_both_languages():
    names, sentences = evidence_names(ROOM.parent), evidence_sentences(ROOM.parent)
    # The search itself must find something.
    assert {"month", "shortfall_p", "jump_s", "children"} <= names
    assert {"P(received < {0} % of plan) > {1}", "heat that is not counted"} <= sentences
    assert sorted(text for text in names | sentences if not catalogue("zh").get(text)) == []


def test_what_a_restatement_names_has_words_in_both_languages():
    told = [o for o in discovered() if isinstance(o, WindowOperator | NetworkOperator | LedgerOperator)]
    names = {"coverage of the window", "status"}.union(*(o.fields for o in told))
    assert {"ua_kw_k", "leak_m3", "dead_lettered"} <= names  # the search itself must find something
    later = re.compile(r"outdoor_\d+h_c")  # a forecast's hours, one each: the number says which
    assert sorted(n for n in names if not later.fullmatch(n) and not catalogue("zh").get(n)) == []
    assert [catalogue("en")[n] for n in ("spread_k", "ua_kw_k", "wind_m_s")] == [
        "spread K",
        "ua kW/K",
        "wind m/s",
    ]


def test_every_translation_is_given_and_keeps_its_placeholders():
    with (ROOM / "locale/zh/LC_MESSAGES/board.po").open("rb") as file:
        messages = [m for m in read_po(file, locale="zh") if m.id]
    ids = [m.id for m in messages]
    assert len(ids) == len(set(ids))
    for m in messages:
        assert str(m.string).strip(), m.id
        assert sorted(PLACEHOLDER.findall(m.id)) == sorted(PLACEHOLDER.findall(m.string)), m.id


def test_english_words_are_given_to_codes_that_there_are():
    with (ROOM / "locale/en/LC_MESSAGES/board.po").open("rb") as file:
        given = {str(m.id): str(m.string) for m in read_po(file) if m.id}
    assert given.keys() <= catalogue("zh").keys()
    assert [code for code, words in given.items() if not words.strip() or words == plain(code)] == []
    assert catalogue("en")["learning"] == "still learning"


def test_the_measurement_table_has_both_languages():
    assert all(m.en and m.zh for m in MEASUREMENTS)


@pytest.mark.parametrize(
    ("wishes", "language"),
    [
        ((None, None, None), "zh"),
        (("en", "zh", ""), "en"),
        ((None, None, "en-GB,en;q=0.9"), "en"),
        ((None, "zh", "en"), "zh"),
        (("xx", None, "fr-FR,de;q=0.7"), "zh"),
        (("<script>", None, "zh-CN"), "zh"),
    ],
)
def test_the_first_wish_that_the_board_can_meet_is_taken(wishes, language):
    assert choose(*wishes) == language
