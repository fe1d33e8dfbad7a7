"""The shape of `[[sync]]` and `[ownership]` in crmsync.toml, and the default sync that stands without a file.

pydantic checks the shape; what it finds is put into our own sentences, by where it stands:
`sync[0].fields.phone`. It is imported only where there are such tables, since most runs have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from crmsync.config.sync import FieldRule, Sync
from crmsync.text import did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

DEFAULT_SYNC = Sync(
    name="contacts",
    source="salesforce",
    object="Contact",
    into="profiles",
    match_key="salesforce_id",
    owner="crm",
    require=("email",),
    fields=(
        FieldRule("email", "Email", "email"),
        FieldRule("external_id", "Id"),
        FieldRule("salesforce_id", "Id"),
        FieldRule("first_name", "FirstName"),
        FieldRule("last_name", "LastName"),
        FieldRule("phone", "Phone", "phone", region_from=("MailingCountryCode", "MailingCountry")),
        FieldRule("job_title", "Title"),
        FieldRule("company_name", "Account.Name"),
        FieldRule("lead_source", "LeadSource"),
        FieldRule("crm_last_modified_at", "LastModifiedDate", "instant"),
    ),
)
"""The guide's own case: Salesforce contacts into profiles."""


def read_syncs(tables: object, problems: list[str]) -> dict[int, Sync]:
    """The syncs by their number in the file, those left out that have problems; the default sync without
    tables."""
    if tables is None or tables == []:
        return {0: DEFAULT_SYNC}
    if not isinstance(tables, list):
        problems.append("sync: must be written [[sync]], with two brackets, once for each sync")
        return {}
    from pydantic import ValidationError

    from crmsync.config.shapes import SyncTable

    syncs = {}
    for number, table in enumerate(tables):
        try:
            syncs[number] = SyncTable.model_validate(table).sync()
        except ValidationError as invalid:
            problems.extend(_sentences(f"sync[{number}]", invalid))
    return syncs


def read_ownership(
    table: object, built_in: Mapping[str, tuple[str, ...]], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    """The built-in matrix with the file's entries laid over it, field by field."""
    if table is None:
        return dict(built_in)
    from pydantic import ValidationError

    from crmsync.config.shapes import OWNERSHIP

    try:
        return {**built_in, **OWNERSHIP.validate_python(table)}
    except ValidationError as invalid:
        problems.extend(_sentences("ownership", invalid))
        return dict(built_in)


def _sentences(at: str, invalid: ValidationError) -> Iterator[str]:
    """One sentence for each place where the shape is wrong."""
    for error in invalid.errors(include_url=False):
        steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"]]
        yield f"{at}{''.join(steps)}: {_sentence(error)}"


def _sentence(error: ErrorDetails) -> str:
    from crmsync.config.shapes import FieldTable, SyncTable

    context: dict[str, Any] = error.get("ctx", {})
    kind = error["type"]
    if kind == "extra_forbidden":
        table = FieldTable if len(error["loc"]) > 1 else SyncTable
        keys = [field.alias or name for name, field in table.model_fields.items()]
        return f"is not a key here{did_you_mean(str(error['loc'][-1]), keys)}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "value_error":
        return str(context["error"])
    return _MUST_BE.get(kind, "has the wrong shape")


_MUST_BE = {
    "string_type": "must be a text",
    "list_type": "must be a text or a list of texts",
    "tuple_type": "must be a text or a list of texts",
    "dict_type": "must be a table",
    "model_type": "must be a table",
}
