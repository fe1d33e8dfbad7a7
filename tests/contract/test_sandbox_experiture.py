"""The sandbox's CDP over real sockets: what its documentation promises, and every doubt as a switch."""

from __future__ import annotations

import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from crmsync.sandbox.experiture import ExperitureService
from crmsync.sandbox.server import SandboxServer

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
INVALID = "CDP_ETL.VALIDATION.REQUEST_INVALID"
UPSERT = "/records/profiles/upsert"
UPSERTS = "/records/profiles/upsert-batch"
APPENDS = "/records/profiles/append-batch"


class Cdp:
    """A client of a fresh workspace, with its static key unless told otherwise."""

    def __init__(self, server: SandboxServer, service: ExperitureService) -> None:
        self.service, self.root = service, server.base_url
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {service.credentials['api_key']}"

    def control(self, action: str, /, **arguments: Any) -> Any:
        answer = requests.post(f"{self.root}/_sandbox/experiture/{action}", json=arguments, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def switch(self, **switches: Any) -> None:
        self.control("switches", **switches)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.http.get(f"{self.root}/public/v1{path}", headers=headers, timeout=10)

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json; charset=utf-8", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        return self.http.post(f"{self.root}/public/v1{path}", data=data, headers=sent, timeout=10)

    def upserts(self, *records: Any, key: str | None = None) -> requests.Response:
        return self.post(UPSERTS, {"records": list(records), "matchKey": "salesforce_id"}, key)

    def job(self, accepted: requests.Response) -> requests.Response:
        return self.get(f"/records/profiles/jobs/{accepted.json()['data']['jobId']}")

    def rows(self) -> list[dict[str, Any]]:
        """The profiles without what the sandbox knows about them."""
        dumped = self.control("dump", object="profiles")
        return [{name: value for name, value in row.items() if name[0] != "_"} for row in dumped]

    def token(self, **form: str) -> requests.Response:
        known = self.service.credentials
        sent = {
            "grant_type": "client_credentials",
            "client_id": known["client_id"],
            "client_secret": known["client_secret"],
            **form,
        }
        return requests.post(self.root + "/oauth/token", data=sent, timeout=10)

    def log_in(self, **form: str) -> None:
        self.http.headers["Authorization"] = f"Bearer {self.token(**form).json()['access_token']}"


@pytest.fixture
def cdp() -> Iterator[Cdp]:
    with SandboxServer() as server:
        service = ExperitureService(base_url=server.base_url)
        server.add(service)
        yield Cdp(server, service)


def person(number: int, **fields: Any) -> dict[str, Any]:
    return {"salesforce_id": f"003{number}", "email": f"p{number}@example.org", **fields}


def new_key() -> str:
    return str(uuid.uuid4())


def refused(answer: requests.Response, status: int, code: str, path: str | None = None) -> None:
    """The answer is an error in the documented envelope."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is False
    assert body["error"]["code"] == code
    assert body["correlationId"] == answer.headers["x-correlation-id"]
    if path is not None:
        assert body["error"]["details"]["path"] == path


class TestAuth:
    def test_client_credentials_buy_a_token(self, cdp: Cdp) -> None:
        answer = cdp.token()
        assert answer.headers["Cache-Control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 3600)
        assert len(body["access_token"].split(".")) == 3
        cdp.http.headers["Authorization"] = "Bearer " + body["access_token"]
        assert cdp.get("/metadata/objects").status_code == 200

    def test_the_environment_names_what_works(self, cdp: Cdp) -> None:
        variables = cdp.service.environment()
        login = (variables["EXPERITURE_CLIENT_ID"], variables["EXPERITURE_CLIENT_SECRET"])
        grant = {"grant_type": "client_credentials"}
        answer = requests.post(variables["EXPERITURE_TOKEN_URL"], data=grant, auth=login, timeout=10)
        headers = {"Authorization": "Bearer " + answer.json()["access_token"]}
        objects = variables["EXPERITURE_BASE_URL"] + "/metadata/objects"
        assert requests.get(objects, headers=headers, timeout=10).status_code == 200

    @pytest.mark.parametrize(
        ("form", "status", "error"),
        [
            ({"client_secret": "wrong"}, 401, "invalid_client"),
            ({"client_id": ""}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"scope": "cdp:everything"}, 400, "invalid_scope"),
        ],
    )
    def test_refused_logins(self, cdp: Cdp, form: dict[str, str], status: int, error: str) -> None:
        answer = cdp.token(**form)
        assert (answer.status_code, answer.json()["error"]) == (status, error)

    @pytest.mark.parametrize(
        ("accepted", "by_body", "by_basic"), [("any", 200, 200), ("body", 200, 401), ("basic", 401, 200)]
    )
    def test_how_the_client_authenticates(self, cdp: Cdp, accepted: str, by_body: int, by_basic: int) -> None:
        cdp.switch(client_auth=accepted)
        login = (cdp.service.credentials["client_id"], cdp.service.credentials["client_secret"])
        grant = {"grant_type": "client_credentials"}
        basic = requests.post(cdp.root + "/oauth/token", data=grant, auth=login, timeout=10)
        assert (cdp.token().status_code, basic.status_code) == (by_body, by_basic)

    def test_the_forms_of_expires_in(self, cdp: Cdp) -> None:
        cdp.switch(expires_in="text", token_seconds=90)
        assert cdp.token().json()["expires_in"] == "90"
        cdp.switch(expires_in="absent")
        assert "expires_in" not in cdp.token().json()

    def test_a_token_expires_by_the_services_clock(self, cdp: Cdp) -> None:
        cdp.switch(token_seconds=60)
        cdp.log_in()
        cdp.control("clock", advance=59)
        assert cdp.get("/metadata/objects").status_code == 200
        cdp.control("clock", advance=2)
        refused(cdp.get("/metadata/objects"), 401, "CDP_ETL.AUTH.TOKEN_EXPIRED")

    @pytest.mark.parametrize("code", ["UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_INVALID"])
    def test_tokens_can_be_declared_expired(self, cdp: Cdp, code: str) -> None:
        cdp.log_in()
        cdp.control("expire_tokens")
        cdp.switch(expired_token_code="CDP_ETL.AUTH." + code)
        refused(cdp.get("/metadata/objects"), 401, "CDP_ETL.AUTH." + code)
        cdp.log_in()
        assert cdp.get("/metadata/objects").status_code == 200

    def test_bad_tokens(self, cdp: Cdp) -> None:
        good = cdp.token().json()["access_token"]
        head, claims, signature = good.split(".")
        forged = [
            f"{head}.{claims}.{'A' * len(signature)}",
            f"{head}.{claims[:-2]}.{signature}",
            "x",
            "a.b.c",
        ]
        for token in forged:
            cdp.http.headers["Authorization"] = f"Bearer {token}"
            refused(cdp.get("/metadata/objects"), 401, "CDP_ETL.AUTH.TOKEN_INVALID")
        for header in ("", "Bearer ", f"Basic {good}"):
            cdp.http.headers["Authorization"] = header
            refused(cdp.get("/metadata/objects"), 401, "CDP_ETL.AUTH.UNAUTHORIZED")

    def test_a_missing_scope_is_403(self, cdp: Cdp) -> None:
        cdp.log_in(scope="cdp:records:write")
        assert cdp.upserts(person(1)).status_code == 202
        refused(cdp.get("/metadata/objects"), 403, "CDP_ETL.AUTH.FORBIDDEN")
        refused(cdp.post("/profiles/upsert", {"record": person(1)}), 403, "CDP_ETL.AUTH.FORBIDDEN")

    def test_the_static_key_can_be_refused(self, cdp: Cdp) -> None:
        cdp.switch(api_key="refused")
        refused(cdp.get("/metadata/objects"), 401, "CDP_ETL.AUTH.TOKEN_INVALID")


class TestSingleWrites:
    def test_an_upsert_is_accepted_and_stored(self, cdp: Cdp) -> None:
        answer = cdp.post(UPSERT, {"record": person(1), "matchKey": "salesforce_id"})
        body = answer.json()
        assert answer.status_code == 200
        assert body["success"] is True
        assert body["correlationId"] == answer.headers["x-correlation-id"]
        accepted_at = body["data"].pop("acceptedAt")
        assert accepted_at.endswith("Z")
        assert body["data"] == {
            "operation": "upsert",
            "objectName": "profiles",
            "accepted": True,
            "acceptedRecords": 1,
            "matchKey": "salesforce_id",
        }
        assert cdp.rows() == [person(1)]

    def test_profiles_default_to_their_primary_key(self, cdp: Cdp) -> None:
        for name in ("a", "b"):
            answer = cdp.post("/profiles/upsert", {"record": {"email": "x@y.org", "first_name": name}})
            assert answer.json()["data"]["matchKey"] == "email"
        assert cdp.rows() == [{"email": "x@y.org", "first_name": "b"}]

    def test_append_duplicates(self, cdp: Cdp) -> None:
        for _ in range(2):
            answer = cdp.post("/records/profiles/append", {"record": person(1)})
            assert answer.json()["data"]["operation"] == "append"
        assert cdp.rows() == [person(1), person(1)]
        assert cdp.control("counts")["duplicates"]["profiles"]["salesforce_id"] == 1

    @pytest.mark.parametrize(
        ("body", "status", "code", "path"),
        [
            (b"{", 400, INVALID, None),
            (b"[]", 400, INVALID, None),
            (b'{"record": {"ltv": NaN}}', 400, INVALID, None),
            ({"matchKey": "email"}, 400, INVALID, "record"),
            ({"record": {}}, 400, INVALID, "record"),
            ({"record": [1]}, 400, INVALID, "record"),
            ({"record": {"email": 5}}, 400, INVALID, "record.email"),
            ({"record": {"crm_deleted_at": "2026-01-01T00:00:00"}}, 400, INVALID, "record.crm_deleted_at"),
            ({"record": {"colour": 1}}, 422, "CDP_ETL.VALIDATION.REQUEST_SCHEMA", "record.colour"),
            ({"record": {"email": "a@b.org"}, "matchKey": "colour"}, 400, INVALID, "matchKey"),
            ({"record": {"email": "a@b.org"}, "matchKey": "first_name"}, 400, INVALID, "matchKey"),
            ({"record": {"email": "a@b.org"}, "matchKey": 5}, 400, INVALID, "matchKey"),
            ({"record": {"email": "a@b.org"}, "match_key": "email"}, 400, INVALID, "match_key"),
        ],
    )
    def test_refusals(self, cdp: Cdp, body: Any, status: int, code: str, path: str | None) -> None:
        refused(cdp.post(UPSERT, body), status, code, path)
        assert cdp.rows() == []

    def test_append_takes_no_match_key(self, cdp: Cdp) -> None:
        body = {"record": person(1), "matchKey": "email"}
        refused(cdp.post("/records/profiles/append", body), 400, INVALID, "matchKey")

    def test_switches_of_requests(self, cdp: Cdp) -> None:
        cdp.switch(bad_match_key=422, unknown_field_code="schema_mismatch", unknown_members="ignore")
        refused(cdp.post(UPSERT, {"record": person(1), "matchKey": "x"}), 422, "schema_mismatch", "matchKey")
        assert cdp.post(UPSERT, {"record": person(1), "more": 1}).status_code == 200

    def test_media_types_and_codings(self, cdp: Cdp) -> None:
        body = {"record": person(1)}
        zipped = gzip.compress(json.dumps(body).encode())
        plain = {"Content-Type": "text/plain"}
        refused(cdp.post(UPSERT, body, None, **plain), 415, INVALID)
        refused(cdp.post(UPSERT, zipped, None, **{"Content-Encoding": "gzip"}), 415, INVALID)
        cdp.switch(content_type="ignore", gzip_requests="accept")
        assert cdp.post(UPSERT, body, None, **plain).status_code == 200
        assert cdp.post(UPSERT, zipped, None, **{"Content-Encoding": "gzip"}).status_code == 200
        refused(cdp.post(UPSERT, b"no gzip", None, **{"Content-Encoding": "gzip"}), 400, INVALID)

    @pytest.mark.parametrize("path", ["/records/nothing/upsert", "/records/profiles/explode", "/profiles"])
    def test_unknown_things_are_404(self, cdp: Cdp, path: str) -> None:
        refused(cdp.post(path, {"record": person(1)}), 404, "CDP_ETL.NOT_FOUND")

    @pytest.mark.parametrize(
        ("carried", "on_success", "on_error"),
        [("both", True, True), ("success", True, False), ("error", False, True), ("none", False, False)],
    )
    def test_which_envelopes_carry_the_id(
        self, cdp: Cdp, carried: str, on_success: bool, on_error: bool
    ) -> None:
        cdp.switch(body_correlation_id=carried)
        good, bad = cdp.post(UPSERT, {"record": person(1)}), cdp.post(UPSERT, {"record": {}})
        assert ("correlationId" in good.json(), "correlationId" in bad.json()) == (on_success, on_error)
        assert good.headers["x-correlation-id"] != bad.headers["x-correlation-id"]


class TestBatches:
    def test_a_batch_becomes_a_job(self, cdp: Cdp) -> None:
        cdp.switch(job_seconds=4)
        accepted = cdp.upserts(person(1), person(2))
        data = accepted.json()["data"]
        assert (accepted.status_code, data["status"], data["acceptedRecords"]) == (202, "queued", 2)
        states = [cdp.job(accepted).json()["data"]["status"]]
        assert cdp.rows() == []
        for _ in range(2):
            cdp.control("clock", advance=2)
            states.append(cdp.job(accepted).json()["data"]["status"])
        assert states == ["queued", "running", "completed"]
        told = cdp.job(accepted).json()["data"]
        assert (told["inserted"], told["updated"], told["rejected"], told["errors"]) == (2, 0, 0, [])
        assert cdp.rows() == [person(1), person(2)]

    def test_or_is_answered_at_once(self, cdp: Cdp) -> None:
        cdp.switch(batch_mode="inline", row_report="all", rows_name="results")
        cdp.upserts(person(1))
        answer = cdp.upserts(person(1, job_title="x"), person(2), person(3, email="nobody"))
        data = answer.json()["data"]
        assert answer.status_code == 200
        assert (data["inserted"], data["updated"], data["rejected"], data["acceptedRecords"]) == (1, 1, 1, 2)
        assert [row["status"] for row in data["results"]] == ["updated", "inserted", "rejected"]
        assert len(cdp.rows()) == 2

    def test_names_of_a_job(self, cdp: Cdp) -> None:
        cdp.switch(
            accept_status=200,
            job_id_field="id",
            state_field="jobStatus",
            state_queued="PENDING",
            state_done="succeeded",
            state_partial="completed_with_errors",
            counts_at="summary",
            counts_names="records",
            row_index="path",
            rows_at="result",
        )
        accepted = cdp.upserts(person(1))
        assert accepted.status_code == 200
        first = accepted.json()["data"]
        assert first["jobStatus"] == "PENDING"
        done = cdp.get(f"/records/profiles/jobs/{first['id']}").json()["data"]
        assert (done["id"], done["jobStatus"]) == (first["id"], "succeeded")
        assert done["summary"] == {"insertedRecords": 1, "updatedRecords": 0, "rejectedRecords": 0}
        partly = cdp.upserts(person(2), person(3, email="nobody")).json()["data"]
        done = cdp.get(f"/records/profiles/jobs/{partly['id']}").json()["data"]
        assert done["jobStatus"] == "completed_with_errors"
        assert [row["path"] for row in done["result"]["errors"]] == ["records[1].email"]

    @pytest.mark.parametrize("mode", ["inline", "job"])
    @pytest.mark.parametrize("status", [400, 422])
    def test_all_or_nothing(self, cdp: Cdp, mode: str, status: int) -> None:
        cdp.switch(batch_mode=mode, outcome="all_or_nothing", row_error_status=status)
        refused(cdp.upserts(person(1), person(2, email="nobody")), status, INVALID, "records[1].email")
        assert cdp.rows() == []

    def test_a_refusal_may_show_only_in_the_job(self, cdp: Cdp) -> None:
        cdp.switch(outcome="all_or_nothing", validation="in_job")
        accepted = cdp.upserts(person(1), person(2, email="nobody"))
        assert accepted.status_code == 202
        told = cdp.job(accepted).json()["data"]
        assert told["status"] == "failed"
        assert told["error"]["details"]["path"] == "records[1].email"
        assert cdp.rows() == []

    def test_all_records_rejected(self, cdp: Cdp) -> None:
        bad = person(1, email="nobody")
        assert cdp.job(cdp.upserts(bad)).json()["data"]["status"] == "completed"
        cdp.switch(all_rejected="failed")
        told = cdp.job(cdp.upserts(bad)).json()["data"]
        assert (told["status"], told["rejected"]) == ("failed", 1)

    def test_an_unknown_field_refuses_the_request(self, cdp: Cdp) -> None:
        answer = cdp.upserts(person(1), person(2, colour="red"))
        refused(answer, 422, "CDP_ETL.VALIDATION.REQUEST_SCHEMA", "records[1].colour")
        cdp.control("add_field", name="colour", enum=["red", "blue"])
        assert cdp.upserts(person(1), person(2, colour="red")).status_code == 202
        assert cdp.rows()[1]["colour"] == "red"
        cdp.control("remove_field", name="colour")
        assert cdp.upserts(person(2, colour="red")).status_code == 422
        assert "colour" not in cdp.rows()[1]

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"records": []}, "records"),
            ({"records": {"a": 1}}, "records"),
            ({"record": {"email": "a@b.org"}}, "record"),
            ({"matchKey": "email"}, "records"),
            ({"records": [{"email": "a@b.org"}] * 10_001}, "records"),
        ],
    )
    def test_framing(self, cdp: Cdp, body: dict[str, Any], path: str) -> None:
        refused(cdp.post(UPSERTS, body), 400, INVALID, path)

    def test_ten_thousand_records_are_one_batch(self, cdp: Cdp) -> None:
        assert cdp.upserts(*[person(number) for number in range(10_000)]).status_code == 202
        assert cdp.control("counts")["rows"]["profiles"] == 10_000

    def test_an_empty_batch_may_be_accepted(self, cdp: Cdp) -> None:
        cdp.switch(empty_records="accept", batch_mode="inline")
        assert cdp.upserts().json()["data"]["inserted"] == 0

    def test_a_body_above_10_mb_is_413(self, cdp: Cdp) -> None:
        heavy = [person(number, job_title="x" * 1000) for number in range(9_600)]
        refused(cdp.upserts(*heavy), 413, INVALID)
        cdp.switch(too_large_body="html")
        assert cdp.upserts(*heavy).headers["Content-Type"].startswith("text/html")
        cdp.switch(max_body_bytes=20_000_000)
        assert cdp.upserts(*heavy).status_code == 202

    def test_a_record_without_its_key(self, cdp: Cdp) -> None:
        keyless = {"email": "a@b.org"}
        for _ in range(2):
            cdp.upserts(keyless)
        assert cdp.rows() == [keyless, keyless]
        cdp.switch(missing_key="refuse")
        told = cdp.job(cdp.upserts(keyless, {"salesforce_id": " "}, person(1))).json()["data"]
        paths = [row["error"]["details"]["path"] for row in told["errors"]]
        assert paths == ["records[0].salesforce_id", "records[1].salesforce_id"]
        assert len(cdp.rows()) == 3

    def test_appending_a_batch_never_merges(self, cdp: Cdp) -> None:
        for _ in range(2):
            assert cdp.post(APPENDS, {"records": [person(1)]}).status_code == 202
        assert cdp.rows() == [person(1), person(1)]

    def test_a_later_job_may_land_earlier(self, cdp: Cdp) -> None:
        cdp.switch(job_seconds=60)
        old, new = cdp.upserts(person(1, job_title="old")), cdp.upserts(person(1, job_title="new"))
        for accepted in (new, old):
            cdp.control("job", id=accepted.json()["data"]["jobId"], action="finish")
        assert cdp.rows() == [person(1, job_title="old")]
        titles = [write["record"]["job_title"] for write in cdp.control("writes", records=True)]
        assert titles == ["new", "old"]

    def test_lost_stuck_and_strange_jobs(self, cdp: Cdp) -> None:
        cdp.switch(job_seconds=5)
        lost, stuck, strange = (cdp.upserts(person(number)) for number in range(3))
        for accepted, action in ((lost, "lose"), (stuck, "stick"), (strange, "state:quarantined")):
            cdp.control("job", id=accepted.json()["data"]["jobId"], action=action)
        cdp.control("clock", advance=3600)
        refused(cdp.job(lost), 404, "CDP_ETL.NOT_FOUND")
        assert cdp.job(stuck).json()["data"]["status"] == "running"
        assert cdp.job(strange).json()["data"]["status"] == "quarantined"
        assert cdp.rows() == []
        assert [job["lost"] for job in cdp.control("jobs")] == [True, False, False]

    def test_a_job_belongs_to_its_object(self, cdp: Cdp) -> None:
        job = cdp.upserts(person(1)).json()["data"]["jobId"]
        refused(cdp.get(f"/records/contacts/jobs/{job}"), 404, "CDP_ETL.NOT_FOUND")
        refused(cdp.get("/records/profiles/jobs/job_x"), 404, "CDP_ETL.NOT_FOUND")


class TestPoison:
    def test_a_record_error_with_and_without_its_path(self, cdp: Cdp) -> None:
        cdp.switch(batch_mode="inline")
        cdp.control("poison", field="salesforce_id", value="0032", code="CDP_ETL.X", message="no")
        (row,) = cdp.upserts(person(1), person(2)).json()["data"]["errors"]
        assert row["error"] == {
            "code": "CDP_ETL.X",
            "message": "no",
            "details": {"path": "records[1].salesforce_id", "value": None},
        }
        cdp.control("clear_poison")
        cdp.control("poison", field="salesforce_id", value="0032", with_path=False)
        cdp.switch(outcome="all_or_nothing")
        answer = cdp.upserts(person(1), person(2))
        refused(answer, 400, INVALID)
        assert "details" not in answer.json()["error"]

    @pytest.mark.parametrize("status", [409, 422, 500])
    def test_a_whole_batch_fails_because_of_one_record(self, cdp: Cdp, status: int) -> None:
        cdp.control("poison", field="salesforce_id", value="0032", status=status, code="CDP_ETL.X")
        refused(cdp.upserts(person(1), person(2)), status, "CDP_ETL.X")
        assert cdp.upserts(person(1)).status_code == 202
        refused(cdp.post(UPSERT, {"record": person(2)}), status, "CDP_ETL.X")
        assert cdp.rows() == [person(1)]

    def test_or_its_job_fails(self, cdp: Cdp) -> None:
        cdp.control("poison", field="salesforce_id", value="0032", status=500, code="CDP_ETL.X", in_job=True)
        told = cdp.job(cdp.upserts(person(1), person(2))).json()["data"]
        assert (told["status"], told["error"]["code"]) == ("failed", "CDP_ETL.X")
        assert cdp.rows() == []


class TestIdempotency:
    def test_the_same_request_gets_the_same_answer(self, cdp: Cdp) -> None:
        key = new_key()
        first, again = (cdp.post(APPENDS, {"records": [person(1)]}, key) for _ in range(2))
        assert again.content == first.content
        assert again.headers["x-correlation-id"] == first.headers["x-correlation-id"]
        assert len(cdp.rows()) == 1
        log = requests.get(cdp.root + "/_sandbox/requests", timeout=10).json()
        seen = [entry for entry in log if entry["path"].endswith("append-batch")]
        assert [(entry["idempotency_key"], entry["records"]) for entry in seen] == [(key, 1), (key, 1)]
        assert [entry.get("replayed", False) for entry in seen] == [False, True]

    def test_for_24_hours(self, cdp: Cdp) -> None:
        key = new_key()
        for advance, rows in ((0, 1), (24 * 3600 - 5, 1), (10, 2)):
            cdp.control("clock", advance=advance)
            cdp.post(APPENDS, {"records": [person(1)]}, key)
            assert len(cdp.rows()) == rows

    @pytest.mark.parametrize("known", ["409", "422"])
    def test_a_key_with_another_body(self, cdp: Cdp, known: str) -> None:
        cdp.switch(key_mismatch=known)
        key = new_key()
        cdp.upserts(person(1), key=key)
        assert cdp.upserts(person(2), key=key).status_code == int(known)
        assert cdp.rows() == [person(1)]

    def test_or_is_replayed(self, cdp: Cdp) -> None:
        cdp.switch(key_mismatch="replay", replay_marked=True)
        key = new_key()
        first, second = cdp.upserts(person(1), key=key), cdp.upserts(person(2), key=key)
        assert second.content == first.content
        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Idempotency-Replayed"] == "true"
        assert cdp.rows() == [person(1)]

    def test_what_the_same_body_is(self, cdp: Cdp) -> None:
        compact, spaced = b'{"records":[{"email":"a@b.org"}]}', b'{"records": [{"email": "a@b.org"}]}'
        key = new_key()
        assert cdp.post(APPENDS, compact, key).status_code == 202
        assert cdp.post(APPENDS, spaced, key).status_code == 422
        cdp.switch(same_body="json")
        key = new_key()
        assert cdp.post(APPENDS, compact, key).content == cdp.post(APPENDS, spaced, key).content

    def test_a_key_belongs_to_one_endpoint(self, cdp: Cdp) -> None:
        key, body = new_key(), {"records": [person(1)]}
        assert cdp.post(APPENDS, body, key).status_code == 202
        refused(cdp.post(UPSERTS, body, key), 422, INVALID)

    @pytest.mark.parametrize("key", ["hs:123", "not-a-uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
    def test_a_key_that_is_no_uuid_v4(self, cdp: Cdp, key: str) -> None:
        refused(cdp.upserts(person(1), key=key), 400, INVALID, "Idempotency-Key")
        cdp.switch(non_v4_key="ignore")
        for _ in range(2):
            assert cdp.post(APPENDS, {"records": [person(1)]}, key).status_code == 202
        assert len(cdp.rows()) == 2
        cdp.switch(non_v4_key="accept")
        for _ in range(2):
            assert cdp.post(APPENDS, {"records": [person(1)]}, key).status_code == 202
        assert len(cdp.rows()) == 3

    @pytest.mark.parametrize(
        ("cached", "after_400", "after_500"), [("no", 202, 202), ("4xx", 400, 202), ("all", 400, 500)]
    )
    def test_whether_errors_are_cached(self, cdp: Cdp, cached: str, after_400: int, after_500: int) -> None:
        cdp.switch(cache_errors=cached)
        seen = []
        for status in (400, 500):
            key = new_key()
            cdp.control("poison", field="salesforce_id", value="0031", status=status)
            assert cdp.upserts(person(1), key=key).status_code == status
            cdp.control("clear_poison")
            seen.append(cdp.upserts(person(1), key=key).status_code)
        assert seen == [after_400, after_500]

    @pytest.mark.parametrize(("doubt", "statuses"), [("409", [202, 409]), ("wait", [202, 202])])
    def test_a_key_in_flight(self, cdp: Cdp, doubt: str, statuses: list[int]) -> None:
        cdp.switch(key_in_flight=doubt, processing_seconds=0.3)
        key, seen = new_key(), []
        senders = [
            threading.Thread(
                target=lambda: seen.append(
                    requests.post(
                        cdp.root + "/public/v1" + APPENDS,
                        json={"records": [person(1)]},
                        headers={**cdp.http.headers, "Idempotency-Key": key},
                        timeout=10,
                    ).status_code
                )
            )
            for _ in range(2)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert sorted(seen) == statuses
        assert len(cdp.rows()) == 1


class TestLimits:
    def test_per_token_and_class(self, cdp: Cdp) -> None:
        cdp.control("clock", freeze=NOON.isoformat())
        cdp.switch(rate_limit=2)
        assert [cdp.upserts(person(1)).status_code for _ in range(3)] == [202, 202, 429]
        limited = cdp.upserts(person(1))
        refused(limited, 429, "CDP_ETL.RATE.LIMITED")
        assert limited.headers["Retry-After"] == "1"
        assert cdp.post(UPSERT, {"record": person(1)}).status_code == 200
        cdp.log_in()
        assert cdp.upserts(person(1)).status_code == 202
        cdp.control("clock", advance=1)
        assert cdp.upserts(person(1)).status_code == 202

    def test_the_forms_of_retry_after(self, cdp: Cdp) -> None:
        cdp.control("clock", freeze=NOON.isoformat())
        cdp.switch(rate_limit=0, retry_after="http_date", retry_after_seconds=30)
        dated = cdp.upserts(person(1)).headers["Retry-After"]
        assert (parsedate_to_datetime(dated) - NOON).total_seconds() == 30
        cdp.switch(retry_after="absent")
        assert "Retry-After" not in cdp.upserts(person(1)).headers

    @pytest.mark.parametrize(("counted", "status"), [("own", 404), ("batch", 429)])
    def test_which_quota_polling_uses(self, cdp: Cdp, counted: str, status: int) -> None:
        cdp.control("clock", freeze=NOON.isoformat())
        cdp.switch(rate_limit=1, polling_class=counted)
        cdp.upserts(person(1))
        assert cdp.get("/records/profiles/jobs/x").status_code == status


class TestMetadata:
    def test_the_list(self, cdp: Cdp) -> None:
        items = cdp.get("/metadata/objects").json()["data"]["items"]
        assert [item["objectName"] for item in items] == ["profiles", "contacts"]
        assert items[0]["ingestion"]["jsonBatch"] is True
        assert items[0]["primaryProfileRoot"] is True

    def test_one_object(self, cdp: Cdp) -> None:
        data = cdp.get("/metadata/objects/profiles").json()["data"]
        fields = {field["name"]: field for field in data["fields"]}
        assert fields["crm_last_modified_at"] == {
            "name": "crm_last_modified_at",
            "type": "timestamp",
            "nullable": True,
        }
        assert "active" in fields["subscription_status"]["enum"]
        keys = ["email", "external_id", "customer_id", "salesforce_id", "hubspot_contact_id"]
        assert data["identityKeys"] == keys
        refused(cdp.get("/metadata/objects/nothing"), 404, "CDP_ETL.NOT_FOUND")

    def test_its_shapes(self, cdp: Cdp) -> None:
        cdp.switch(identity_keys="objects", fields_key="attributes", field_name_key="fieldName")
        data = cdp.get("/metadata/objects/profiles").json()["data"]
        assert data["attributes"][0]["fieldName"] == "email"
        assert data["identityKeys"][0]["fieldName"] == "email"
        cdp.switch(identity_keys="absent")
        assert "identityKeys" not in cdp.get("/metadata/objects/profiles").json()["data"]

    def test_it_may_be_out_of_reach(self, cdp: Cdp) -> None:
        cdp.switch(metadata="forbidden")
        refused(cdp.get("/metadata/objects"), 403, "CDP_ETL.AUTH.FORBIDDEN")
        cdp.switch(metadata="garbled")
        assert cdp.get("/metadata/objects").text.startswith("<html>")

    def test_a_new_identity_key_can_be_matched_on(self, cdp: Cdp) -> None:
        before = cdp.get("/metadata/objects/profiles").json()["data"]["activeVersion"]
        cdp.control("add_field", name="erp_id", identity=True)
        after = cdp.get("/metadata/objects/profiles").json()["data"]
        assert after["activeVersion"] == before + 1
        assert "erp_id" in after["identityKeys"]
        for title in ("a", "b"):
            cdp.post(UPSERT, {"record": {"erp_id": "1", "job_title": title}, "matchKey": "erp_id"})
        assert cdp.rows() == [{"erp_id": "1", "job_title": "b"}]


class TestControl:
    def test_seeded_rows_are_merged_into(self, cdp: Cdp) -> None:
        assert cdp.control("seed_rows", object="profiles", rows=[person(1, ltv=9.5)]) == {"rows": 1}
        cdp.upserts(person(1, job_title="x"))
        assert cdp.rows() == [person(1, ltv=9.5, job_title="x")]
        assert len(cdp.control("writes")) == 1

    def test_the_writes_say_where_they_came_from(self, cdp: Cdp) -> None:
        key = new_key()
        job = cdp.upserts(person(1), person(2), key=key).json()["data"]["jobId"]
        assert cdp.control("writes", since=1) == [
            {
                "n": 2,
                "object": "profiles",
                "row": 2,
                "status": "inserted",
                "match_key": "salesforce_id",
                "key": "0032",
                "idempotency_key": key,
                "batch": job,
            }
        ]
        counts = cdp.control("counts")
        batch = {"endpoint": "profiles/upsert-batch", "idempotency_key": key, "records": 2}
        assert counts["batches"] == [batch]
        assert counts["idempotency_keys"] == [key]
        assert counts["requests"] == {"records/upsert-batch": 1}

    def test_reset(self, cdp: Cdp) -> None:
        cdp.switch(batch_mode="inline")
        cdp.upserts(person(1))
        cdp.control("reset")
        assert cdp.rows() == []
        assert cdp.control("switches")["batch_mode"]["value"] == "job"

    @pytest.mark.parametrize(
        ("action", "arguments"),
        [
            ("explode", {}),
            ("dump", {"object": "nothing"}),
            ("switches", {"batch_mode": "maybe"}),
            ("seed_rows", {"rows": [{"colour": 1}]}),
            ("seed_rows", {}),
            ("poison", {"feld": "x"}),
            ("clock", {"freeze": "2026-01-01T00:00:00"}),
            ("clock", {"stop": 1}),
            ("remove_field", {"name": "email"}),
            ("job", {"id": "x", "action": "finish"}),
        ],
    )
    def test_wrong_calls(self, cdp: Cdp, action: str, arguments: dict[str, Any]) -> None:
        answer = requests.post(f"{cdp.root}/_sandbox/experiture/{action}", json=arguments, timeout=10)
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_many_writers_at_once_make_no_duplicates(cdp: Cdp) -> None:
    def write(session: requests.Session, number: int) -> None:
        body = {"records": [person(each, job_title=str(number)) for each in range(50)], "matchKey": "email"}
        answer = session.post(cdp.root + "/public/v1" + UPSERTS, json=body, headers=dict(cdp.http.headers))
        assert answer.status_code == 202

    def writer(number: int) -> Callable[[], None]:
        def run() -> None:
            with requests.Session() as session:
                for _ in range(5):
                    write(session, number)

        return run

    threads = [threading.Thread(target=writer(number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = cdp.control("counts")
    assert counts["rows"]["profiles"] == 50
    assert counts["writes"] == 8 * 5 * 50
    assert set(counts["duplicates"]["profiles"].values()) == {0}
