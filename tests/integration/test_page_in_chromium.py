"""The page of `runs --html` in a browser: what shows, how wide it is, and whom it asks for anything."""

from __future__ import annotations

import contextlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from unit.histories import QUARTER, eventful

from crmsync.state.rejects import Rejects
from crmsync.state.store import FileStore

from .test_runs import remember
from .world import PATIENCE, Crmsync

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-default-apps", "--no-first-run", "--disable-domain-reliability",
    "--proxy-bypass-list=<-loopback>", "--window-size=1400,3000",
)  # fmt: skip
HOSTILE = "<img src=http://evil.test/x.png><script src=http://evil.test/x.js></script>"
OWN = "not an origin"
"""Who asks, in the log of a browser, where it is the browser itself."""
WIDTHS = (390, 1280)

MEASURE = """<!doctype html><link rel="icon" href="data:,"><body>
<img src="http://control.test/seen.png">
<script>
function luminance(colour) {
  const part = colour.map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  return .2126 * part[0] + .7152 * part[1] + .0722 * part[2];
}
function rgb(text) { return text.match(/[\\d.]+/g).map(Number); }
function ground(element, view) {
  for (let each = element; each; each = each.parentElement) {
    const colour = rgb(view.getComputedStyle(each).backgroundColor);
    if (colour.length == 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
}
function contrast(element, view) {
  const style = view.getComputedStyle(element);
  const ink = luminance(rgb(element.closest("svg") ? style.fill : style.color));
  const paper = luminance(ground(element, view));
  return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
}
function measure(frame) {
  const view = frame.contentWindow, page = frame.contentDocument;
  page.querySelectorAll("details").forEach(each => each.open = true);
  const box = each => each.getBoundingClientRect();
  const shown = [...page.body.querySelectorAll("*")].filter(each => box(each).width > 0);
  const says = each => [...each.childNodes].some(node => node.nodeType == 3 && node.data.trim());
  const texts = shown.filter(each => says(each) && each.tagName != "title");
  const size = selector => [...page.querySelectorAll(selector)].map(each => [box(each).width, box(each).height]);
  const colour = selector => view.getComputedStyle(page.querySelector(selector)).stroke;
  return {
    scrolls: page.documentElement.scrollWidth,
    beyond: shown.filter(each => box(each).right > frame.clientWidth || box(each).left < 0)
      .map(each => each.outerHTML.slice(0, 120)),
    faint: texts.filter(each => contrast(each, view) < 4.5).map(each => each.outerHTML.slice(0, 120)),
    texts: texts.length,
    small: texts.filter(each => parseFloat(view.getComputedStyle(each).fontSize) < 11).length,
    gaps: size("rect.gap"), spikes: size(".bar.spike"), usual: size(".bar.written"),
    runs: size(".bar.ok,.bar.look,.bar.failed").length, failures: size(".bar.failed"),
    crosses: size(".at .mark.failure").length,
    colours: [colour(".bar.ok"), colour(".bar.failed"), colour(".bar.written"), colour(".bar.spike")],
    paper: luminance(ground(page.body, view)),
    evil: page.querySelectorAll("img,script").length,
  };
}
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(measure);
  document.title = JSON.stringify(found);
});
</script>
<iframe src="/runs.html" width="390" height="3000" style="border:0"></iframe>
<iframe src="/runs.html" width="1280" height="3000" style="border:0"></iframe>
</body>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Debian's package chromium")
    return found


class Network:
    """All the network that a browser gets: a proxy that answers for page.test, and for nobody else."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        network = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = network.files.get(self.path.removeprefix("http://page.test"), "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)

            do_POST = do_CONNECT = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def network() -> Iterator[Network]:
    found = Network()
    yield found
    found.stop()


@dataclass(frozen=True)
class Visit:
    """What a page has become, and what it asked for: without what the browser asks on its own account."""

    shown: str
    asked: set[str]


def visit(chromium: str, network: Network, folder: Path, url: str, *flags: str) -> Visit:
    log = folder / "net.json"
    done = subprocess.run(
        [chromium, *FLAGS, *flags, f"--proxy-server={network.address}", f"--log-net-log={log}",
         f"--user-data-dir={folder / 'profile'}", "--dump-dom", url],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    logged = json.loads(log.read_text())
    start = logged["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event["params"] for event in logged["events"] if event["type"] == start and "params" in event]
    return Visit(done.stdout, {each["url"] for each in asked if each.get("initiator", OWN) != OWN})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty runs with a gap, a spike and a failure, and rejects whose texts try to be markup."""
    crmsync = Crmsync(tmp_path_factory.mktemp("page") / "home", {"CRMSYNC_INTERVAL": "15m"})
    start = datetime.now(UTC) - 29 * QUARTER - timedelta(hours=3, minutes=5)
    history = eventful(start)
    history[24]["error"] = HOSTILE
    remember(crmsync, history)
    rejects = Rejects(FileStore(crmsync.state), "contacts")
    for number, origin in enumerate(("here", "destination")):
        rejects.add(
            f"0035e00000AbCd{number}AAV", origin=origin, code=HOSTILE, field="x" * 200, message=HOSTILE, stamp=""
        )  # fmt: skip
    rejects.flush()
    assert crmsync.run("runs", "--html", "runs.html").code == 0
    return crmsync.home / "runs.html"


@pytest.mark.parametrize("place", ["a disk", "a server"])
def test_opened_from_anywhere_it_shows_everything_and_asks_nobody(
    chromium: str, network: Network, page: Path, tmp_path: Path, place: str
) -> None:
    network.files = {"/runs.html": page.read_text()}
    address = page.as_uri() if place == "a disk" else "http://page.test/runs.html"
    seen = visit(chromium, network, tmp_path, address)
    for words in ("no run for 3h 14m", "4,870", "exit 77", "The configuration in force"):
        assert words in seen.shown
    assert seen.asked == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desk_and_can_be_read_in_light_and_dark(
    chromium: str, network: Network, page: Path, tmp_path: Path, scheme: str
) -> None:
    network.files = {"/": MEASURE, "/runs.html": page.read_text()}
    preferred = f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}"
    visited = visit(chromium, network, tmp_path, "http://page.test/", preferred)
    title = re.search("<title>(.*?)</title>", visited.shown)
    assert title, visited.shown[:400]
    found: list[dict[str, Any]] = json.loads(html.unescape(title[1]))
    for width, seen in zip(WIDTHS, found, strict=True):
        assert seen["scrolls"] <= width
        assert seen["beyond"] == []
        assert seen["texts"] > 100
        assert (seen["faint"], seen["small"]) == ([], 0)
        assert (seen["paper"] < 0.1) == (scheme == "dark")
        assert (seen["runs"], len(seen["failures"]), seen["evil"]) == (30, 1, 0)
        assert seen["crosses"] >= 2
        assert max(across for across, _ in seen["gaps"]) > 0.15 * width
        ((_, spike),) = seen["spikes"]
        assert spike > 5 * max(high for _, high in seen["usual"])
        assert len(set(seen["colours"])) == 4
    assert visited.asked == {"http://control.test/seen.png", "http://page.test/runs.html"}
