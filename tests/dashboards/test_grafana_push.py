"""`hearthline dashboards push`, against a stub that speaks Grafana's interface (`tests/support/grafana_stub.py`)."""

from __future__ import annotations

import json
import re

import pytest

from dashboards.grafana_push import folders_of
from dashboards.language import LANGUAGES
from dashboards.panels import pages
from hearthline.site_dir import open_site
from tests.support.commands import run_command
from tests.support.grafana_stub import TOKEN, VIEWER, GrafanaStub
from tests.support.mosquitto import free_port
from tests.support.simulated_cases import simulated

ADDRESS = re.compile(r"\$\{board\}[^\s\")]*")
PAGES = len(pages()) * len(LANGUAGES)


@pytest.fixture
def stub():
    made = GrafanaStub()
    yield made
    made.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A site of two regions beside files with tokens."""
    home = tmp_path_factory.mktemp("push")
    simulated(home, hours=1, substations=1, trucks=1, interval=300)
    for name, token in {"token": TOKEN, "viewer": VIEWER, "wrong": "of-nobody"}.items():
        (home / name).write_text(token + "\n")
    (home / "empty").write_text("\n")
    return home


def push(home, url, token="token", code=0):
    done = run_command(
        "dashboards", "push", "--site", home / "site", "--url", url, "--token-file", home / token, "--json"
    )
    assert done.exit_code == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def counts(done):
    return {how: len(titles) for how, titles in json.loads(done.stdout).items()}


def test_every_region_and_unit_has_a_folder_with_its_pages_and_pushing_again_writes_nothing(home, stub):
    folders = folders_of(open_site(home / "site"))
    all_of_it = len(folders) * (PAGES + 1)
    assert counts(push(home, stub.url)) == {"made": all_of_it, "changed": 0, "same": 0}
    assert {f["title"] for f in stub.folders.values()} == {f.title for f in folders}
    lying = [kept["meta"]["folderUid"] for kept in stub.dashboards.values()]
    assert {uid: lying.count(uid) for uid in stub.folders} == {f.uid: PAGES for f in folders}
    writes = len(stub.writes)
    assert counts(push(home, stub.url + "/")) == {"made": 0, "changed": 0, "same": all_of_it}
    assert len(stub.writes) == writes == all_of_it


def test_a_folders_pages_ask_for_their_scope_alone(home, stub):
    push(home, stub.url)
    queries = 0
    for folder in folders_of(open_site(home / "site")):
        wanted = (
            f'r.unit == "{folder.scope.unit}"'
            if folder.scope.unit
            else f'r.region == "{folder.scope.region}"'
        )
        scope = folder.scope
        key = f"unit:{scope.unit}" if scope.unit else f"region:{scope.region}"
        asked = wanted, f'r.key == "{key}"', f"r.key =~ /^{key}:/"  # rows of the scope, or about it
        of_board = f"&unit={scope.unit}" if scope.unit else f"&region={scope.region}"
        for kept in stub.dashboards.values():
            if kept["meta"]["folderUid"] == folder.uid:
                document = kept["dashboard"]
                about = [
                    t["query"]
                    for p in document["panels"]
                    for t in p.get("targets", [])
                    if "${device" not in t["query"]
                ]
                about += [v["query"]["query"] for v in document["templating"]["list"] if v["type"] == "query"]
                about += [a["target"]["query"] for a in document["annotations"]["list"]]
                assert [q for q in about if not any(a in q for a in asked)] == [], document["title"]
                assert all(of_board in a for a in ADDRESS.findall(json.dumps(document))), document["title"]
                queries += len(about)
    assert queries > 500


def test_what_was_edited_moved_or_renamed_there_is_put_right_and_the_rest_left(home, stub):
    push(home, stub.url)
    first, second, *_ = stub.dashboards.values()
    folder, other, *_ = stub.folders.values()
    first["dashboard"]["panels"] = []
    first["dashboard"]["version"] = 7
    second["meta"]["folderUid"] = (
        other["uid"] if second["meta"]["folderUid"] != other["uid"] else folder["uid"]
    )
    folder["title"], folder["version"] = "mine", 4
    writes = len(stub.writes)
    done = counts(push(home, stub.url))
    assert (done["made"], done["changed"], len(stub.writes) - writes) == (0, 3, 3)
    assert stub.dashboards[first["dashboard"]["uid"]]["dashboard"]["version"] == 8
    assert counts(push(home, stub.url))["changed"] == 0


REFUSALS = [
    (400, {"message": "Cannot save provisioned dashboard"}, "come from files"),
    (409, {"message": "exists"}, "another folder of that name"),
    (412, {"message": "changed by someone else"}, "somebody saved it meanwhile"),
    (429, {"message": "slow down"}, "push again later"),
    (500, {"message": "database is locked"}, "look at its log"),
    (502, "<html>Bad\nGateway</html>", "Bad Gateway"),
    (418, ["a", "list"], "was not expected"),
]


@pytest.mark.parametrize(("status", "body", "said"), REFUSALS, ids=[str(r[0]) for r in REFUSALS])
def test_a_refusal_is_one_line_that_says_what_to_do_and_pushing_again_goes_on(home, stub, status, body, said):
    stub.refuse_after = (5, status, body)
    done = push(home, stub.url, code=1)
    [line] = done.stderr.splitlines()
    assert f"HTTP {status}" in line
    assert said in line
    assert counts(done) == {"made": 5, "changed": 0, "same": 0}
    if status == 500:  # as after any of them
        stub.refuse_after = None
        assert counts(push(home, stub.url))["same"] == 5


def test_a_token_that_is_unknown_or_may_only_look_is_said(home, stub):
    assert "HTTP 401 Invalid API key: is the token one" in push(home, stub.url, "wrong", code=1).stderr
    assert "give its service account the role Editor" in push(home, stub.url, "viewer", code=1).stderr
    assert stub.writes == []


def test_an_address_that_is_not_grafanas_is_said_and_no_token_shown(home, stub):
    elsewhere = stub.url.removesuffix("/grafana")
    assert "is the address that of Grafana" in push(home, elsewhere, code=1).stderr
    assert "is it up" in push(home, f"http://127.0.0.1:{free_port()}", code=1).stderr
    for wrong in ("ftp://grafana", "grafana:3000", "http://user:secret@grafana"):
        assert "expected Grafana's address" in push(home, wrong, code=1).stderr
    for name, told in {
        "empty": "expected one token, got nothing",
        "none": "expected a file with a token",
    }.items():
        refused = push(home, stub.url, name, code=2)
        assert (refused.stdout, told in refused.stderr) == ("", True)
