"""Several GET requests in one body, which may be longer than a URI."""

from __future__ import annotations

from collections.abc import Callable

from crmsync.sandbox.salesforce.api_error import ApiError
from crmsync.sandbox.web import Request, Response

MOST_SUBREQUESTS = 25


def composite(request: Request, answer: Callable[[Request], Response]) -> Response:
    """The answer to a composite request, whose parts `answer` answers. Raises ApiError for a wrong body."""
    subrequests, halts = _read(request)
    answers = [(reference, answer(each)) for reference, each in subrequests]
    if halts and any(response.status >= 400 for _, response in answers):
        halted = ApiError(
            400,
            "PROCESSING_HALTED",
            "The transaction was rolled back since another operation in the same transaction failed.",
        )
        answers = [
            (reference, each if each.status >= 400 else halted.response()) for reference, each in answers
        ]
    return Response(
        200,
        {
            "compositeResponse": [
                {
                    "body": response.body,
                    "httpHeaders": {},
                    "httpStatusCode": response.status,
                    "referenceId": reference,
                }
                for reference, response in answers
            ]
        },
    )


def _read(request: Request) -> tuple[list[tuple[str, Request]], bool]:
    """The subrequests by reference, and whether one failure fails them all."""
    try:
        asked = request.json()
        subrequests = [(str(each["referenceId"]), _subrequest(each)) for each in asked["compositeRequest"]]
        halts = bool(asked.get("allOrNone"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ApiError(400, "JSON_PARSER_ERROR", "the body is not a composite request") from None
    if not 0 < len(subrequests) <= MOST_SUBREQUESTS:
        raise ApiError(
            400, "LIMIT_EXCEEDED", f"a composite request takes 1 to {MOST_SUBREQUESTS} subrequests"
        )
    return subrequests, halts


def _subrequest(asked: dict[str, object]) -> Request:
    path, _, raw_query = str(asked["url"]).partition("?")
    headers = asked.get("httpHeaders") or {}
    if not isinstance(headers, dict):
        raise TypeError("httpHeaders must be an object")
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    return Request(str(asked["method"]), path, raw_query, lowered, b"")
