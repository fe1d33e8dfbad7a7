"""The page that `crmsync runs --html` writes: one file that asks nobody for anything. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from crmsync.health import charts
from crmsync.health.figures import figures
from crmsync.health.markup import Html, join, tag
from crmsync.health.run import Run
from crmsync.health.scale import day_and_time, told_length
from crmsync.health.status import Health, Verdict, worst
from crmsync.health.style import STYLE
from crmsync.health.timeline import Event, events, gaps
from crmsync.text import count, one_line, span

ROWS = 200
"""So many runs are listed one by one; the charts show all."""
OUTSTANDING = 12
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class RejectGroup:
    """Open rejects of one code and field. `examples` are Ids; `message` quotes no value of a record."""

    code: str
    field: str
    origin: str
    number: int
    since: str
    message: str
    examples: Sequence[str]


@dataclass(frozen=True, slots=True)
class Section:
    """One sync."""

    health: Health
    runs: Sequence[Run]
    rejects: Sequence[RejectGroup]


@dataclass(frozen=True, slots=True)
class Page:
    """`settings`: name, value as it may be shown, and where it was set. `max_quota` is a fraction."""

    now: datetime
    version: str
    state: str
    sections: Sequence[Section]
    settings: Sequence[tuple[str, str, str]]
    max_quota: float


def render(page: Page) -> str:
    """The whole document."""
    verdict = worst(section.health.verdict for section in page.sections)
    names = ", ".join(section.health.sync for section in page.sections)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{verdict.name}: {names} – crmsync runs"),
        tag("style", Html(STYLE)),
    )
    body = tag(
        "body",
        charts.hatch(),
        tag("header", tag("h1", "crmsync runs"), _as_of(page), _overview(page.sections)),
        tag("main", [_section(section, page) for section in page.sections], _settings(page)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _as_of(page: Page) -> Html:
    return tag(
        "p", f"As of {day_and_time(page.now)} UTC · {page.state} · crmsync {page.version}", class_="as-of"
    )


def _overview(sections: Sequence[Section]) -> Html | None:
    """Where there are several syncs: all of them, with the way to each."""
    if len(sections) < 2:
        return None
    links = [
        tag("a", _pill(section.health.verdict), " ", section.health.sync, href=f"#{section.health.sync}")
        for section in sections
    ]
    return tag("nav", links)


def _section(section: Section, page: Page) -> Html:
    health, runs = section.health, section.runs
    title = tag("h2", health.sync, " ", _pill(health.verdict))
    parts: list[Html | None] = [title, _reasons(health), _tiles(health, page.now)]
    if runs:
        pauses = gaps(runs, health.interval.length, page.now)
        found = events(runs, pauses)
        parts += [
            _outstanding(found),
            tag("h3", count(len(runs), "run")),
            figures(runs, health, pauses, found, page.now, page.max_quota),
        ]
    else:
        parts.append(tag("p", "No run has ended yet.", class_="nothing"))
    parts.append(_rejects(section))
    if runs:
        parts.append(_listed(runs))
    return tag("section", parts, id=health.sync)


def _pill(verdict: Verdict) -> Html:
    return tag("span", verdict.name, class_=f"pill {verdict.name.lower()}")


def _reasons(health: Health) -> Html | None:
    said = [tag("li", sentence, class_=verdict.name.lower()) for verdict, sentence in health.reasons]
    said += [tag("li", remark, class_="remark") for remark in health.remarks]
    return tag("ul", said, class_="reasons") if said else None


def _tiles(health: Health, now: datetime) -> Html:
    tiles = (_tile(*tile) for tile in _facts(health, now))
    return tag("dl", tiles, class_="tiles")


def _facts(health: Health, now: datetime) -> Iterator[tuple[str, str, str]]:
    """What, how it is, and the fine print."""
    last, run = health.last_success, health.last_run
    age = f"{span(health.age.total_seconds())} ago" if health.age is not None else "never"
    yield "Last success", age, f"{day_and_time(last.ended)} UTC" if last else ""
    lag = span(health.lag.total_seconds()) if health.lag is not None else "–"
    yield (
        "Lag",
        lag,
        f"watermark {day_and_time(health.watermark)} UTC" if health.watermark else "no watermark",
    )
    if health.next_run:
        left = (health.next_run - now).total_seconds()
        expected = f"in {span(left)}" if left >= 0 else f"{span(left)} overdue"
        every = f"every {span(health.interval.length.total_seconds())}, by {health.interval.origin}"
        yield "Next run", expected, every
    if run:
        yield "Last run", f"exit {run.exit_code}", f"{day_and_time(run.started)} UTC, {run.kind}"
    yield "Open rejects", f"{health.open_rejects:,}", "see below" if health.open_rejects else ""
    if health.quota and health.quota[1]:
        used, allowed = health.quota
        yield "Quota", f"{100 * used / allowed:.1f} %", f"{used:,} of {allowed:,} requests of the day"
    if last:
        vanished = f"{count(len(health.vanished), 'field')} vanished" if health.vanished else ""
        yield "Mapping", "changed" if health.mapping_changed else "as delivered", vanished


def _tile(name: str, value: str, small: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value), tag("dd", small, class_="small") if small else None)


def _outstanding(found: Sequence[Event]) -> Html:
    if not found:
        return join([tag("h3", "What stands out"), tag("p", "Nothing: no gap, no failure, no odd run.")])
    items = [
        tag(
            "li",
            charts.glyph("spike" if event.kind == "rejects" else event.kind),
            tag("span", f"{day_and_time(event.at)} UTC ", class_="when"),
            event.sentence,
            class_=event.kind,
        )
        for event in found[:OUTSTANDING]
    ]
    if len(found) > OUTSTANDING:
        items.append(tag("li", f"and {len(found) - OUTSTANDING:,} more, further back", class_="more"))
    return join([tag("h3", "What stands out"), tag("ul", items, class_="outstanding")])


def _rejects(section: Section) -> Html:
    title = tag("h3", "Open rejects, by reason")
    if not section.rejects:
        return join([title, tag("p", "None.")])
    most = max(group.number for group in section.rejects)
    return join(
        [title, tag("ul", [_reject_group(group, most) for group in section.rejects], class_="rejects")]
    )


def _reject_group(group: RejectGroup, most: int) -> Html:
    where = "by crmsync" if group.origin == "here" else "by the destination"
    refused = f"refused {where}, since {group.since}" if group.since else f"refused {where}"
    return tag(
        "li",
        tag("p", tag("b", group.code), " ", tag("code", group.field) if group.field else None, class_="code"),
        tag("p", tag("span", style=f"width:{100 * group.number / most:.1f}%"), class_="meter"),
        tag("p", tag("b", f"{group.number:,}"), " ", refused),
        tag("p", group.message, class_="small") if group.message else None,
        tag("p", "such as ", tag("code", ", ".join(group.examples)), class_="small"),
    )


def _listed(runs: Sequence[Run]) -> Html:
    """The newest runs one by one, newest first."""
    newest = list(reversed(runs))[:ROWS]
    heads = (
        ("started, UTC", ""), ("kind", "on-desk"), ("exit", "n"), ("written", "n"), ("rejected", "n"),
        ("skipped", "n on-desk"), ("unchanged", "n on-desk"), ("took", "n"), ("lag", "n on-desk"),
    )  # fmt: skip
    rows = [row for run in newest for row in _row(run, [style for _, style in heads])]
    title = f"The newest {ROWS} runs, one by one" if len(runs) > ROWS else "The runs, one by one"
    return tag(
        "details",
        tag("summary", title),
        tag(
            "table",
            tag("thead", tag("tr", [tag("th", name, class_=style or None) for name, style in heads])),
            tag("tbody", rows),
        ),
    )


def _row(run: Run, styles: Sequence[str]) -> Iterator[Html]:
    cells = (
        day_and_time(run.started),
        run.kind,
        str(run.exit_code),
        f"{run.written:,}",
        f"{run.rejects:,}",
        f"{run.skips:,}",
        f"{run.unchanged:,}",
        told_length(run.duration),
        span(run.lag) if run.lag is not None else "",
    )
    look = "failed" if run.failed else "odd" if run.deviations else None
    yield tag(
        "tr",
        [tag("td", cell, class_=style or None) for cell, style in zip(cells, styles, strict=True)],
        class_=look,
    )
    said = [one_line(run.error)] if run.error else list(run.deviations.values())
    if said:
        yield tag("tr", tag("td", "; ".join(said), colspan=str(len(styles))), class_=f"said {look or ''}")


def _settings(page: Page) -> Html:
    """What has a value; a name may be broken at its underscores."""
    rows = [
        tag(
            "tr",
            tag("th", [[part, tag("wbr")] for part in re.split(r"(?<=_)", name)], scope="row"),
            tag("td", value),
            tag("td", origin, class_="on-desk"),
        )
        for name, value, origin in page.settings
        if value
    ]
    return tag(
        "details",
        tag("summary", "The configuration in force"),
        tag("table", tag("tbody", rows), class_="settings"),
    )
