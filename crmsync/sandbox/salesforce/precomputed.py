"""Answers to queries kept as bytes, so that a benchmark measures the client and not the sandbox."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Hashable

from crmsync.sandbox.salesforce.edge import encode, form
from crmsync.sandbox.web import Request, Response

_QUERY = re.compile(r"/services/data/v\d+\.0/query(?:All)?(?:/.*)?")


class Precomputed:
    """While `on`, a query asked for the second time gets the bytes of the first.

    Its locators then serve any session. The same query has the same text, so a benchmark freezes the clock;
    `forget` has to be called whenever the org changes.
    """

    def __init__(self) -> None:
        self.on = False
        self._kept: dict[Hashable, Response] = {}

    def answer(self, request: Request, make: Callable[[], Response]) -> Response:
        """The kept answer to a request, else that which `make` gives. Raises what `make` raises."""
        if not self.on or request.method != "GET" or not _QUERY.fullmatch(request.path):
            return make()
        options = request.headers.get("sforce-query-options", "")
        key = (request.path, request.raw_query, options, form(request))
        if key not in self._kept:
            self._kept[key] = _compressed(request, encode(request, make()))
        kept = self._kept[key]
        return Response(kept.status, kept.body, dict(kept.headers), dict(kept.notes))

    def forget(self) -> None:
        self._kept.clear()


def _compressed(request: Request, response: Response) -> Response:
    may_gzip, _ = form(request)
    if may_gzip:
        response.body = gzip.compress(response.encoded(), 1, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
    return response
