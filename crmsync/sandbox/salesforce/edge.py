"""What happens to every request and answer, whatever resource they are about."""

from __future__ import annotations

import orjson

from crmsync.sandbox.web import Request, Response

LONGEST_URI = 16_384
FIXED_HEADERS = {
    "Cache-Control": "no-cache,must-revalidate,max-age=0,no-store,private",
    "Set-Cookie": "CookieConsentPolicy=0:1; path=/; SameSite=None",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "none",
}


def refused_for_size(request: Request) -> Response | None:
    """The edge's HTML for a URI, or a URI with its headers, that is too long."""
    uri = len(request.path) + len(request.raw_query) + 1
    if uri > LONGEST_URI:
        return _bad_message(414, "URI Too Long")
    headers = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
    return _bad_message(431, "Request Header Fields Too Large") if uri + headers > LONGEST_URI else None


def encode(request: Request, response: Response) -> Response:
    """The same answer, its JSON in bytes, indented where the request wants it so."""
    if not isinstance(response.body, str | bytes) and response.body is not None:
        response.body = orjson.dumps(response.body, option=orjson.OPT_INDENT_2 if _pretty(request) else 0)
        response.headers["Content-Type"] = "application/json;charset=UTF-8"
    return response


def form(request: Request) -> tuple[bool, bool]:
    """Whether an answer may be gzipped, and whether its JSON is to be indented."""
    return "gzip" in request.headers.get("accept-encoding", ""), _pretty(request)


def _pretty(request: Request) -> bool:
    return request.headers.get("x-prettyprint") == "1"


def _bad_message(status: int, reason: str) -> Response:
    return Response(status, f"<h1>Bad Message {status}</h1><pre>reason: {reason}</pre>")
