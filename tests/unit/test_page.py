"""The page of `crmsync runs --html`: well-formed, and nothing in it but ours is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from histories import QUARTER, eventful, line, lines, runs
from hypothesis import given
from hypothesis import strategies as st

from crmsync.health.markup import Html, join, tag
from crmsync.health.page import Page, RejectGroup, Section, render
from crmsync.health.run import Run
from crmsync.health.status import Facts, Limits, judge

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'&<img src=http://evil.test/x onerror=alert(1)>\x1b[2J\u202e"
VOID = {"meta", "wbr"}


class Outline(HTMLParser):
    """Every element and attribute of a page; an element that is not closed where it should be is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def page(history: list[Run], **changes: Any) -> Page:
    now = max((run.ended for run in history), default=NOON) + timedelta(minutes=5)
    found = judge(Facts("contacts", now, history, None, 0, 0, "", QUARTER, QUARTER, 0.8), Limits())
    usual = Page(now, "0.1.0", "/state", [Section(found, history, [])], [("A_B", "c", "default")], 0.8)
    return replace(usual, **changes)


@pytest.mark.parametrize(
    "history",
    [
        [],
        lines(NOON, 1),
        lines(NOON, 1, quota=None, lag_seconds=None, watermark=None, duration_seconds=0.0),
        eventful(NOON),
        lines(NOON, 2_000),
        lines(NOON, 40, exit_code=75, watermark_moved=False, written=0, rejected={}, skipped={}),
        lines(NOON, 3, timedelta(days=30)),
        [line(NOON), line(NOON)],
    ],
    ids=["none", "one", "bare", "eventful", "many", "failures", "rare", "at once"],
)
def test_every_history_makes_a_whole_page(history: list[Any]) -> None:
    html = render(page(runs(history)))
    outline = Outline(html)
    assert outline.elements.count("section") == 1
    assert "NaN" not in html
    assert len(html) < 400_000


def test_the_eventful_page_marks_each_event() -> None:
    html = render(page(runs(eventful(NOON))))
    for words in ("no run for 3h 14m", "exit 77", "4,870", "140 rejected", "only 4 records written"):
        assert words in html, words
    for style in ("bar failed", "bar spike", "mark drop", 'class="gap"'):
        assert style in html, style


def test_nothing_that_others_wrote_is_markup() -> None:
    strange = line(NOON, exit_code=1, error=HOSTILE, run_id=HOSTILE, kind=HOSTILE, rejected={HOSTILE: 4})
    strange |= {"deviations": {"written_drop": HOSTILE}}
    group = RejectGroup(HOSTILE, HOSTILE, "destination", 3, HOSTILE, HOSTILE, [HOSTILE])
    quiet, loud = page(runs([line(NOON, exit_code=1)])), page(runs([strange]))
    (section,) = loud.sections
    loud = replace(loud, sections=[replace(section, rejects=[group])], state=HOSTILE, version=HOSTILE)
    loud = replace(loud, settings=[(HOSTILE, HOSTILE, HOSTILE)])
    html = render(loud)
    outline = Outline(html)
    assert set(outline.elements) <= set(Outline(render(quiet)).elements) | {"code", "b"}
    assert "script" not in outline.elements
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_the_page_asks_nobody_for_anything_and_lets_nothing_run() -> None:
    outline = Outline(render(page(runs(eventful(NOON)))))
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(outline.elements)
    assert not {"src", "srcset", "action", "xlink:href"} & {name for name, _ in outline.attributes}
    assert all(value.startswith("#") for name, value in outline.attributes if name == "href")
    (policy,) = (value for _, value in outline.attributes if value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_several_syncs_have_an_overview() -> None:
    one = page(runs(lines(NOON, 3)))
    (section,) = one.sections
    other = replace(section, health=replace(section.health, sync="leads"))
    html = render(replace(one, sections=[section, other]))
    assert '<a href="#leads">' in html
    assert len(re.findall('<section id="', html)) == 2


@given(st.recursive(st.text() | st.none(), st.lists))
def test_text_stays_text_however_it_is_nested(child: Any) -> None:
    html = tag("p", child, title="\"'<>&")
    assert isinstance(html, Html)
    outline = Outline(html)
    assert (outline.elements, outline.attributes) == (["p"], [("title", "\"'<>&")])
    assert join([html]) == html
