import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dashboards
from dashboards.grafana import drifted, export, render
from dashboards.language import LANGUAGES
from dashboards.panels import pages
from hearthline.cli import build

GENERATED = Path(dashboards.__file__).parent / "generated"
EVERY = [(page, language) for page in pages() for language in LANGUAGES]


def documents():
    return [json.loads(render(page, language)) for page, language in EVERY]


def test_committed_dashboards_are_what_the_panels_say_now():
    assert drifted(GENERATED) == []


def test_a_dashboard_that_was_edited_or_lost_is_named(tmp_path):
    export(tmp_path)
    (tmp_path / "en" / "trust.json").unlink()
    overview = tmp_path / "zh" / "overview.json"
    overview.write_text(overview.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert {p.relative_to(tmp_path).as_posix() for p in drifted(tmp_path)} == {
        "en/trust.json",
        "zh/overview.json",
    }


def test_every_target_has_its_data_source_and_a_query():
    targets = [t for d in documents() for p in d["panels"] for t in p.get("targets", [])]
    assert len(targets) > 50
    for target in targets:
        assert target["datasource"] == {"type": "influxdb", "uid": "${datasource}"}
        bucket = "hearthline_readings" if '_measurement == "reading"' in target["query"] else "hearthline"
        assert set(re.findall(r'from\(bucket: "(\w+)"\)', target["query"])) == {bucket}
        assert "v.timeRangeStart" in target["query"] or "|> limit(n: 1)" in target["query"]


def test_every_panel_of_the_board_is_in_grafana_with_the_same_title():
    for (page, language), document in zip(EVERY, documents(), strict=True):
        titles = [p["title"] for p in document["panels"]]
        assert titles == [getattr(p.title, language) for p in page.panels]
        assert document["uid"] == f"hearthline-{page.id}-{language}"


def test_every_dashboard_marks_alarms_and_restatements_and_leads_back_to_its_page_of_the_board():
    for (page, language), document in zip(EVERY, documents(), strict=True):
        asked = [a["target"]["query"] for a in document["annotations"]["list"]]
        assert ['"alarm"' in asked[0], '"restatement"' in asked[1]] == [True, True]
        assert all(
            a["enable"] and a["datasource"]["uid"] == "${datasource}" for a in document["annotations"]["list"]
        )
        back, others = document["links"]
        path = page.path.replace("{device}", "${device}")
        assert back["url"] == f"${{board}}{path}?lang={language}&from=${{__from}}&to=${{__to}}"
        assert (others["tags"], others["keepTime"]) == (["hearthline", language], True)
        assert "board" in {v["name"] for v in document["templating"]["list"]}


def test_the_stack_opens_with_the_overview():
    compose = (Path(dashboards.__file__).parents[1] / "docker-compose.yml").read_text(encoding="utf-8")
    (home,) = re.findall(r"DEFAULT_HOME_DASHBOARD_PATH: /var/lib/dashboards/(.+)", compose)
    assert json.loads((GENERATED / home).read_text(encoding="utf-8"))["uid"] == "hearthline-overview-zh"


def test_panels_fill_24_columns_and_do_not_overlap():
    for document in documents():
        taken = set()
        for p in document["panels"]:
            g = p["gridPos"]
            assert g["x"] + g["w"] <= 24
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
            assert not cells & taken, p["title"]
            taken |= cells


def test_panels_stand_where_the_board_has_them():
    pages_by_id = {page.id: page for page in pages()}
    document = json.loads(render(pages_by_id["network"], "en"))
    at = {p["title"]: p["gridPos"] for p in document["panels"]}
    drawing, profile = at["The network, by flow and by return"], at["Pressure over the way from the plant"]
    assert (drawing["x"], drawing["w"], drawing["h"]) == (8, 16, 20)
    assert (profile["x"], profile["y"]) == (0, at["Where the heat went"]["h"])
    balances, meters = at["Balances"], at["Meters that balances correct most"]
    assert (balances["y"], meters["x"] + meters["w"]) == (meters["y"], 24)
    for page in pages_by_id.values():  # a row that is not full would be a hole on the board, too
        placed = [p["gridPos"] for p in json.loads(render(page, "en"))["panels"]]
        assert sum(g["w"] * g["h"] for g in placed) == 24 * max(g["y"] + g["h"] for g in placed), page.id


def test_variables_that_may_have_several_values_are_used_in_their_array_form():
    for document in documents():
        several = [v["name"] for v in document["templating"]["list"] if v.get("multi")]
        text = json.dumps(document["panels"])
        for name in several:
            assert f"${{{name}:json}}" in text
            assert f"${{{name}}}" not in text


def test_a_bucket_is_only_ever_text():
    document = json.loads(render(pages()[0], "en", *['x") |> drop() //'] * 2))
    queries = [t["query"] for p in document["panels"] for t in p.get("targets", [])]
    assert all('from(bucket: "x\\x22) |> drop() //")' in q for q in queries)


def test_the_command_writes_every_page_in_both_languages(tmp_path):
    runner = CliRunner()
    done = runner.invoke(build(), ["dashboards", "export", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)["files"]) == len(EVERY)
    assert runner.invoke(build(), ["dashboards", "check", str(tmp_path)]).exit_code == 0
    (tmp_path / "zh" / "trust.json").write_text("{}", encoding="utf-8")
    wrong = runner.invoke(build(), ["dashboards", "check", str(tmp_path)])
    assert wrong.exit_code == 1
    assert "trust.json differs from the panels" in wrong.output


@pytest.mark.parametrize("out", ["file/below", "file"])
def test_a_folder_that_cannot_be_written_is_said(tmp_path, out):
    from hearthline.cli import UsageError

    (tmp_path / "file").write_text("", encoding="utf-8")
    done = CliRunner().invoke(build(), ["dashboards", "export", "--out", str(tmp_path / out)])
    assert isinstance(done.exception, UsageError)
    assert "expected a folder that can be written" in str(done.exception)
