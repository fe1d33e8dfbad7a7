"""A dlt pipeline: simple-salesforce reads the contacts, a custom destination maps and posts batches of 500.

Written in the two ways that one may choose between: `rows` hands dlt each row as `query_all_iter` gives it,
`pages` a list of mapped records for each page, which dlt's advice on performance asks for.

simple-salesforce speaks https alone: an adapter takes its requests to the benchmark's servers.

Environment: BASE_URL, TOKEN, API_KEY. Argument: rows or pages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import dlt
import requests
from contacts import mapped
from dlt.sources.helpers import requests as retrying
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce

BASE = os.environ["BASE_URL"]
COLUMNS = (
    "Id, Email, FirstName, LastName, Phone, Title, Account.Name, LeadSource, LastModifiedDate, SystemModstamp"
)


class ToServers(HTTPAdapter):
    """Sends what was meant for https to the same host and port without TLS."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = (request.url or "").replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def org() -> Salesforce:
    session = requests.Session()
    session.mount("https://", ToServers())
    return Salesforce(instance_url=BASE, session_id=os.environ["TOKEN"], session=session)


def query(since: object) -> str:
    literal = str(since).replace("+0000", "Z").replace("+00:00", "Z").replace(" ", "T")
    return f"SELECT {COLUMNS} FROM Contact WHERE SystemModstamp >= {literal} ORDER BY SystemModstamp"


def post(records: list[dict[str, Any]]) -> None:
    for record in records:  # dlt has made an instant of the text
        record["crm_last_modified_at"] = record["crm_last_modified_at"].isoformat()
    retrying.post(
        f"{BASE}/public/v1/records/profiles/upsert-batch",
        headers={"Authorization": f"Bearer {os.environ['API_KEY']}"},
        json={"records": records, "matchKey": "salesforce_id"},
    ).raise_for_status()


Changed = dlt.sources.incremental[str]
BEGINNING = "2000-01-01T00:00:00.000+0000"


@dlt.resource(name="contacts", primary_key="Id")
def rows(
    changed: Changed = dlt.sources.incremental("SystemModstamp", initial_value=BEGINNING),  # noqa: B008 - dlt finds the cursor there
) -> Iterator[dict[str, Any]]:
    for contact in org().query_all_iter(query(changed.last_value), include_deleted=True):
        if contact["Email"]:
            contact.pop("attributes")
            yield contact


@dlt.destination(batch_size=500, name="experiture_rows")
def by_rows(items: list[dict[str, Any]], table: Any) -> None:  # noqa: ARG001 - the destination's signature
    post([mapped(item) for item in items])


@dlt.resource(name="contacts", primary_key="salesforce_id")
def pages(
    changed: Changed = dlt.sources.incremental("crm_last_modified_at", initial_value=BEGINNING),  # noqa: B008 - dlt finds the cursor there
) -> Iterator[list[dict[str, Any]]]:
    salesforce = org()
    page = salesforce.query(query(changed.last_value), include_deleted=True)
    while True:
        contacts = [contact for contact in page["records"] if contact["Email"]]
        yield [mapped(contact) for contact in contacts]
        if page["done"]:
            return
        page = salesforce.query_more(page["nextRecordsUrl"], identifier_is_url=True)


@dlt.destination(batch_size=500, name="experiture_pages")
def by_pages(items: list[dict[str, Any]], table: Any) -> None:  # noqa: ARG001 - the destination's signature
    post([{name: value for name, value in item.items() if not name.startswith("_dlt")} for item in items])


resource, destination = (rows(), by_rows) if sys.argv[1] == "rows" else (pages(), by_pages)
dlt.pipeline("contacts", destination=destination, dataset_name="profiles").run(
    resource
).raise_on_failed_jobs()
