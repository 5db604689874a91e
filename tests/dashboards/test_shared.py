"""Equal questions of a moment are asked once, whoever asks."""

import threading

import pyarrow as pa
import pytest

from dashboards.shared import SharedAnswers
from store.protocol import Select, StoreError
from tests.support.waiting import PATIENCE_S

HEAT, WATER = Select("device_heat"), Select("network_water")


class Store:
    def __init__(self):
        self.asked, self.wrong = [], False
        self.may = threading.Event()
        self.may.set()

    def select(self, query):
        self.asked.append(query)
        assert self.may.wait(PATIENCE_S)
        if self.wrong:
            raise StoreError("no such field")
        return pa.table({"n": [len(self.asked)]})


def test_equal_questions_have_one_answer_and_others_their_own():
    store = Store()
    shared = SharedAnswers(store, 60.0)
    first = shared.select(HEAT)
    assert shared.select(Select("device_heat")) is first
    shared.select(WATER)
    assert store.asked == [HEAT, WATER]


def test_who_asks_meanwhile_waits_for_the_same_answer():
    store, answers = Store(), []
    shared = SharedAnswers(store, 60.0)
    store.may.clear()
    askers = [threading.Thread(target=lambda: answers.append(shared.select(HEAT))) for _ in range(3)]
    for asker in askers:
        asker.start()
    store.may.set()
    for asker in askers:
        asker.join(PATIENCE_S)
    assert [a is answers[0] for a in answers] == [True] * 3
    assert store.asked == [HEAT]


def test_an_error_is_told_and_not_kept():
    store = Store()
    shared = SharedAnswers(store, 60.0)
    store.wrong = True
    with pytest.raises(StoreError, match="no such field"):
        shared.select(HEAT)
    store.wrong = False
    assert shared.select(HEAT).num_rows == 1


def test_an_answer_that_is_too_old_is_let_go_of_and_asked_for_again():
    store = Store()
    shared = SharedAnswers(store, -1.0)
    assert shared.select(HEAT) is not shared.select(HEAT)
    assert len(store.asked) == 2
