"""A Salesforce org over HTTP: logins, queries, metadata and replication, as strict as the real one.

service = SalesforceService(contacts=500, seed=7, base_url=server.base_url)
server.add(service)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from crmsync.sandbox.salesforce.api_error import ApiError, not_found
from crmsync.sandbox.salesforce.bulk import BulkQuery
from crmsync.sandbox.salesforce.composite import composite
from crmsync.sandbox.salesforce.control import Control
from crmsync.sandbox.salesforce.describe import describe, global_describe
from crmsync.sandbox.salesforce.edge import FIXED_HEADERS, encode, refused_for_size
from crmsync.sandbox.salesforce.limits import Quota
from crmsync.sandbox.salesforce.login import TokenEndpoint
from crmsync.sandbox.salesforce.org import Org
from crmsync.sandbox.salesforce.paging import Pager
from crmsync.sandbox.salesforce.people import populate
from crmsync.sandbox.salesforce.precomputed import Precomputed
from crmsync.sandbox.salesforce.replication import deleted, updated
from crmsync.sandbox.salesforce.schema import Entity
from crmsync.sandbox.salesforce.sessions import Credentials, Session, Sessions
from crmsync.sandbox.salesforce.soap import SoapLogin
from crmsync.sandbox.salesforce.soql import Path, SoqlError
from crmsync.sandbox.salesforce.soql_eval import run, writer
from crmsync.sandbox.salesforce.soql_fields import Resolver
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.salesforce.values import is_id, long_id
from crmsync.sandbox.web import Clock, Request, Response

API_VERSIONS = tuple(f"{number}.0" for number in range(31, 69))
_VERSIONED = re.compile(r"/services/data/v(\d+\.0)(/.*)?")
_SOAP = re.compile(r"/services/Soap/[uc]/(\d+\.\d)(/.*)?")


class SalesforceService:
    """One org and its API. `base_url` may be set again once the server's port is known."""

    name = "salesforce"

    def __init__(
        self,
        contacts: int,
        seed: int,
        *,
        base_url: str,
        clock: Clock | None = None,
        api_versions: Sequence[str] = API_VERSIONS,
        marker: str = "",
    ) -> None:
        self.base_url = base_url
        self.clock = clock or Clock()
        self.api_versions = tuple(api_versions)
        self.switches = Switches()
        self.org = Org(self.clock, self.switches, seed)
        populate(self.org, contacts, seed, marker)
        self.credentials = Credentials()
        self.sessions = Sessions(self.credentials)
        self.pager = Pager(self.org, seed)
        self.quota = Quota(self.org)
        self.bulk = BulkQuery(self.org, self.quota)
        self.precomputed = Precomputed()
        self._tokens = TokenEndpoint(self.credentials, self.sessions, self.switches, self.clock)
        self._soap = SoapLogin(self.credentials, self.sessions, self.switches)
        self._control = Control(self)

    def owns(self, path: str) -> bool:
        return path.startswith("/services/")

    def control(self, action: str, arguments: dict[str, Any]) -> Any:
        with self.org.lock:
            return self._control(action, arguments)

    def environment(self, login: str = "client_credentials") -> dict[str, str]:
        """The variables for one kind of login: client_credentials, jwt, refresh_token, password or token.

        For jwt the caller adds SALESFORCE_PRIVATE_KEY_FILE, having written `credentials.private_key_pem`.
        """
        known = self.credentials
        client = {"SALESFORCE_LOGIN_URL": self.base_url, "SALESFORCE_CLIENT_ID": known.client_id}
        secret = {"SALESFORCE_CLIENT_SECRET": known.client_secret}
        user = {"SALESFORCE_USERNAME": known.username}
        kinds = {
            "client_credentials": client | secret,
            "jwt": client | user,
            "refresh_token": client | secret | {"SALESFORCE_REFRESH_TOKEN": known.refresh_token},
            "password": {"SALESFORCE_LOGIN_URL": self.base_url}
            | user
            | {"SALESFORCE_PASSWORD": known.password, "SALESFORCE_SECURITY_TOKEN": known.security_token},
            "token": {
                "SALESFORCE_INSTANCE_URL": self.base_url,
                "SALESFORCE_ACCESS_TOKEN": known.access_token,
            },
        }
        if login not in kinds:
            raise ValueError(f"no login {login!r}; there are {', '.join(kinds)}")
        return kinds[login]

    def handle(self, request: Request) -> Response:
        with self.org.lock:
            response = refused_for_size(request) or self._answered(request)
        response.headers |= FIXED_HEADERS
        return encode(request, response)

    # --- routing

    def _answered(self, request: Request) -> Response:
        path = request.path
        if path == "/services/oauth2/token":
            return self._tokens.answer(request, self.base_url)
        soap = _SOAP.fullmatch(path)
        versioned = _VERSIONED.fullmatch(path)
        try:
            if soap:
                _allow(request, "POST")
                return self._soap.answer(request, soap[1], self.base_url)
            if path.rstrip("/") == "/services/data":
                _allow(request, "GET", "HEAD")
                return Response(200, [_version(number) for number in self.api_versions])
            if versioned is None:
                raise not_found()
            return self._authenticated(request, versioned[1], versioned[2] or "/")
        except ApiError as error:
            return error.response()

    def _authenticated(self, request: Request, version: str, resource: str) -> Response:
        session = self.sessions.check(request.headers.get("authorization", ""))
        try:
            self.quota.count()
            response = self.precomputed.answer(
                request, lambda: self._rest(request, version, resource, session)
            )
        except ApiError as error:
            response = error.response()
        usage = self.quota.header()
        response.headers |= {"Sforce-Limit-Info": usage} if usage else {}
        return response

    def _rest(self, request: Request, version: str, resource: str, session: Session) -> Response:
        """One resource below the API version. Raises ApiError."""
        if version not in self.api_versions:
            status = self.switches["unsupported_version"]
            raise ApiError(status, "UNSUPPORTED_API_VERSION", f"API version {version} is not supported")
        base = f"/services/data/v{version}"
        parts = [unquote(part) for part in resource.strip("/").split("/")]
        if parts == ["composite"]:
            _allow(request, "POST")
            return composite(request, lambda each: self._subrequest(each, session))
        if parts[:2] == ["jobs", "query"]:
            return self.bulk.answer(request, version, parts[2:])
        answer = self._resource(request, base, parts, session)
        _allow(request, "GET", "HEAD")
        return answer()

    def _resource(
        self, request: Request, base: str, parts: list[str], session: Session
    ) -> Callable[[], Response]:
        match parts:
            case [""]:
                names = ("composite", "jobs", "limits", "query", "queryAll", "sobjects")
                return lambda: Response(200, {name: f"{base}/{name}" for name in names})
            case ["limits"]:
                return lambda: Response(200, self.quota.limits())
            case ["limits", "recordCount"]:
                return lambda: Response(200, self.quota.record_count(request.query.get("sObjects")))
            case ["sobjects"]:
                return lambda: Response(200, global_describe(self.org.entities.values(), base))
            case ["query" | "queryAll" as kind]:
                return lambda: self._query(request, base, session, include_deleted=kind == "queryAll")
            case ["query" | "queryAll", locator]:
                return lambda: _paged(self.pager.more(locator, session, base))
            case ["sobjects", name, *rest]:
                entity = self.org.entity(name)
                if entity is not None:
                    return self._sobject(request, base, entity, rest)
        raise not_found()

    def _sobject(
        self, request: Request, base: str, entity: Entity, rest: list[str]
    ) -> Callable[[], Response]:
        match rest:
            case []:
                about = global_describe([entity], base)["sobjects"][0]
                return lambda: Response(200, {"objectDescribe": about, "recentItems": []})
            case ["describe"]:
                return lambda: self._describe(request, base, entity)
            case ["deleted"]:
                return lambda: Response(200, deleted(self.org, entity, request.query))
            case ["updated"]:
                return lambda: Response(200, updated(self.org, entity, request.query))
            case [id_]:
                return lambda: Response(200, self._row(base, entity, id_, request.query.get("fields")))
        raise not_found()

    # --- resources

    def _query(self, request: Request, base: str, session: Session, *, include_deleted: bool) -> Response:
        text = request.query.get("q", "")
        if not text.strip():
            raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
        try:
            result = run(text, self.org, base, include_deleted=include_deleted)
        except SoqlError as error:
            raise ApiError(400, error.code, error.message) from None
        options = request.headers.get("sforce-query-options", "")
        return _paged(self.pager.first(result, session, base, options, include_deleted=include_deleted))

    def _describe(self, request: Request, base: str, entity: Entity) -> Response:
        changed = self.org.metadata_changed(entity).replace(microsecond=0)
        headers = {"Last-Modified": format_datetime(changed, usegmt=True)}
        since = request.headers.get("if-modified-since", "")
        try:
            unchanged = bool(since) and changed <= parsedate_to_datetime(since)
        except (ValueError, TypeError):
            unchanged = False
        if unchanged:
            return Response(304, None, headers)
        record_types = self.org.tables["RecordType"].rows.values()
        document = describe(entity, self.org.visible_fields(entity), record_types, base, self.base_url)
        return Response(200, document, headers)

    def _row(self, base: str, entity: Entity, id_: str, fields: str | None) -> dict[str, Any]:
        if not is_id(id_) or not id_.startswith(entity.prefix):
            raise ApiError(
                404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {id_}"
            )
        row = self.org.tables[entity.name].rows.get(long_id(id_[:15]))
        if row is None:
            raise not_found()
        if row.get("IsDeleted"):
            raise ApiError(404, "ENTITY_IS_DELETED", "entity is deleted")
        names = fields.split(",") if fields else [field.name for field in self.org.visible_fields(entity)]
        resolver = Resolver(self.org, fields or entity.name, Path((entity.name,), 1, 1))
        columns = []
        for name in names:
            try:
                columns.append(resolver.column(Path(tuple(name.strip().split(".")), 1, 1)))
            except SoqlError:
                message = f"No such column '{name}' on sobject of type {entity.name}"
                raise ApiError(400, "INVALID_FIELD", message) from None
        return writer(entity, columns, base)(row, self.org.rows())

    def _subrequest(self, request: Request, session: Session) -> Response:
        versioned = _VERSIONED.fullmatch(request.path)
        resource = (versioned[2] or "/") if versioned else ""
        try:
            if versioned is None or resource.strip("/").startswith(("composite", "jobs/")):
                raise not_found()
            return self._rest(request, versioned[1], resource, session)
        except ApiError as error:
            return error.response()


def _paged(body: dict[str, Any]) -> Response:
    return Response(200, body, notes={"rows": len(body["records"])})


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allowed = ",".join(reversed(methods))
        raise ApiError(
            405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed. Allowed are {allowed}"
        )


def _version(number: str) -> dict[str, str]:
    """An entry of the list of versions; three releases a year, 59.0 being Winter '24."""
    years, season = divmod(int(float(number)) - 59, 3)
    label = f"{('Winter', 'Spring', 'Summer')[season]} '{24 + years}"
    return {"version": number, "label": label, "url": f"/services/data/v{number}"}
