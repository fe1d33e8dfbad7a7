"""A refusal in the shape Salesforce gives it."""

from __future__ import annotations

from crmsync.sandbox.web import Response


class ApiError(Exception):
    """An HTTP status with Salesforce's error code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def response(self) -> Response:
        headers = {"WWW-Authenticate": "Token"} if self.status == 401 else {}
        return Response(self.status, [{"message": self.message, "errorCode": self.code}], headers)


def not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")
