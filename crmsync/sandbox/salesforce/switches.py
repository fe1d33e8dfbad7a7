"""Everything about Salesforce that nobody has confirmed, or that differs from org to org, as a switch.

The defaults are *assumed*: a client must survive every value of every switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

YES_NO = (True, False)


@dataclass(frozen=True, slots=True)
class Switch:
    """One doubt. `values` are the allowed ones; None allows any whole number that is not negative."""

    name: str
    default: Any
    values: tuple[Any, ...] | None
    says: str


_REPLICATION = ("answer", "forbidden", "not_replicateable")
_TABLE = (
    # paging
    Switch(
        "page_values", "fetch", ("fetch", "query"), "not documented; newer values were seen on later pages"
    ),
    Switch(
        "deleted_between_pages", "vanish", ("vanish", "appear"), "a row deleted while paging may do either"
    ),
    Switch("empty_last_page", False, YES_NO, "page sizes are not guaranteed, only `done` is"),
    Switch("locator_prefix", "0r8", ("0r8", "01g"), "01g in recordings, 0r8 on newer pods"),
    Switch("locator_lifetime", 172_800, None, "seconds; two days since v56, 15 idle minutes before"),
    # replication
    Switch("deleted", "answer", _REPLICATION, "needs rights; 400 where the object has none"),
    Switch("updated", "answer", _REPLICATION, "needs rights; 400 where the object has none"),
    Switch(
        "deleted_behind", "answer", ("answer", "refuse"), "latestDateCovered < end: the documents disagree"
    ),
    Switch(
        "purged_delete_log",
        "refuse",
        ("refuse", "answer"),
        "a start before the last purge fails, or only earliestDateAvailable tells",
    ),
    Switch(
        "hard_deletes_in_log", True, YES_NO, "whether /deleted lists rows that never sat in the recycle bin"
    ),
    Switch("undeleted_in_log", True, YES_NO, "/deleted and a query may disagree about a row that came back"),
    Switch("replication_id_limit", 600_000, None, "more ids than this are EXCEEDED_ID_LIMIT"),
    # changes
    Switch("undelete_bumps_stamp", True, YES_NO, "no source found"),
    Switch("undelete_keeps_master", True, YES_NO, "MasterRecordId of a merge loser that comes back: unknown"),
    Switch("reparent_bumps_stamp", True, YES_NO, "children of a merge loser: one blog says that it moves"),
    # metadata and limits
    Switch(
        "limit_header",
        "normal",
        ("normal", "per_app", "backwards", "absent"),
        "the count is asynchronous, the tail optional",
    ),
    Switch("limits", "answer", ("answer", "forbidden"), "needs View Setup and Configuration"),
    Switch("record_count", "stale", ("stale", "exact"), "approximate in the recordings"),
    Switch("country_picklists", True, YES_NO, "an org setting; adds the …StateCode and …CountryCode fields"),
    Switch("unsupported_version", 404, (404, 410), "both are documented for a retired version"),
    # bulk queries
    Switch("bulk_seconds", 0, None, "how long a job takes; the first half of it in UploadComplete"),
    Switch("bulk_polls", 0, None, "how many looks at a job find it unfinished, however much time has passed"),
    Switch("bulk_reads", "start", ("start", "end"), "when a job sees the data: at its creation or its end"),
    Switch("bulk_bad_query", "refuse", ("refuse", "fail"), "a wrong query is a 400, or a job that fails"),
    Switch(
        "bulk_compound_code",
        "FUNCTIONALITY_NOT_ENABLED",
        ("FUNCTIONALITY_NOT_ENABLED", "API_ERROR"),
        "both are reported for a compound field",
    ),
    Switch("bulk_unfinished_results", 400, (400, 204, 404), "old documents say 204, practice 400"),
    Switch(
        "bulk_empty_result",
        "header",
        ("header", "header_uncounted", "nothing", "nothing_uncounted"),
        "what no rows look like; uncounted ones come without Sforce-NumberOfRecords",
    ),
    Switch("bulk_number_header", True, YES_NO, "Sforce-NumberOfRecords may be missing"),
    Switch(
        "bulk_locator_header",
        "always",
        ("always", "not_on_last", "never"),
        "the last page says null; proxies drop unknown headers",
    ),
    Switch(
        "bulk_header_row", "each_page", ("each_page", "first_page"), "one page of low trust says first only"
    ),
    Switch("bulk_short_page", False, YES_NO, "whether a page may have a row less than it counts"),
    Switch("bulk_page_rows", 50_000, None, "rows of a page, also where maxRecords asks for more"),
    Switch("bulk_pages_next", "nextRecordsUrl", ("nextRecordsUrl", "nextRecordUrl"), "the documents differ"),
    Switch("bulk_page_link", "resultUrl", ("resultUrl", "resultLink"), "the documents differ"),
    Switch("bulk_retention", 604_800, None, "seconds; results are kept for seven days"),
    # login
    Switch("refresh_token_rotation", False, YES_NO, "a policy of the connected app, being made mandatory"),
    Switch("rotation_ends_session", False, YES_NO, "the earlier session may be ended by a refresh"),
    Switch("error_description", True, YES_NO, "may be missing from a refused login"),
    Switch(
        "login_rate",
        "normal",
        ("normal", "invalid_grant", "forbidden"),
        "the answer to too many logins is not known",
    ),
    Switch("password_grant", True, YES_NO, "can be blocked for the whole org"),
    Switch("my_domain_audience", False, YES_NO, "documented JWT audiences are login and test only"),
    Switch("trusted_address", False, YES_NO, "a login from a trusted range needs no security token"),
    Switch("soap_login", True, YES_NO, "off by default in orgs since Winter '26"),
    Switch("soap_fault_prefix", "sf:", ("sf:", ""), "seen both ways before the fault code"),
    Switch("password_expired", False, YES_NO, "a 200 with a session that is of no use"),
)

SWITCHES: Mapping[str, Switch] = {switch.name: switch for switch in _TABLE}


class Switches:
    """The present value of every switch."""

    def __init__(self) -> None:
        self._values = {name: switch.default for name, switch in SWITCHES.items()}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def set(self, name: str, value: Any) -> None:
        """Turn one switch. Raises ValueError for an unknown name or value."""
        if name not in SWITCHES:
            raise ValueError(f"no switch {name!r}; there are {', '.join(SWITCHES)}")
        allowed = SWITCHES[name].values
        if allowed is None:
            fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else:
            fits = any(value == choice and type(value) is type(choice) for choice in allowed)
        if not fits:
            raise ValueError(f"switch {name} takes {allowed or 'a whole number'}, not {value!r}")
        self._values[name] = value

    def described(self) -> dict[str, dict[str, Any]]:
        """The whole table, for people: value, allowed values, assumed default, and what is not known."""
        return {
            name: {
                "value": self._values[name],
                "values": list(switch.values) if switch.values else "whole number",
                "assumed_default": switch.default,
                "unknown": switch.says,
            }
            for name, switch in SWITCHES.items()
        }

    def values(self) -> dict[str, Any]:
        return dict(self._values)
