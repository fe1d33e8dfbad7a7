"""What nobody has confirmed about the services: whatever is true, the profiles come out the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .world import Crmsync, Sandbox

WORLDS = 12
DECIDES_ANOTHER_OUTCOME = {
    "api_key": "the static key, which these runs do not use",
    "granted_scopes": "a scope that is missing is an error",
    "records_scope": "likewise",
    "jobs_scope": "likewise",
    "email_format": "a stricter CDP refuses odd addresses",
    "longest_string": "and long values",
    "job_fate": "jobs that never end prove nothing",
    "job_retention_seconds": "None is for ever",
    "metadata": "a schema that cannot be read is warned of",
    "rate_limit": "costs time only",
    "retry_after_seconds": "likewise",
    "row_report": "which records were refused has to be told somehow",
    "counts_at": "likewise",
}
"""Switches that are left alone here, and why. Other tests turn them."""


def world(number: int, switches: dict[str, Any]) -> dict[str, Any]:
    """A value for every switch; each value of each switch occurs in some world."""
    return {
        name: random.Random(name).sample(switch["values"], len(switch["values"]))[
            number % len(switch["values"])
        ]
        for name, switch in switches.items()
        if name not in DECIDES_ANOTHER_OUTCOME
    }


@pytest.mark.parametrize("number", range(WORLDS))
def test_whatever_the_cdp_turns_out_to_be_like(sandbox: Sandbox, crmsync: Crmsync, number: int) -> None:
    turned = world(number, sandbox.cdp("switches"))
    sandbox.cdp("switches", **turned)
    crmsync.settings["CRMSYNC_BATCH_SIZE"] = "40"
    crmsync.pull("--full")
    sandbox.assert_in_step()
    changed = sandbox.delivered()[:3]
    sandbox.retitle(changed, f"Changed in world {number}")
    assert crmsync.pull()["written"] == 3, turned
    sandbox.assert_in_step()


SALESFORCE = {
    "page_values": "query",
    "deleted_between_pages": "appear",
    "locator_prefix": "01g",
    "deleted": "forbidden",
    "updated": "forbidden",
    "limit_header": "absent",
    "limits": "forbidden",
    "country_picklists": False,
    "unsupported_version": 410,
    "error_description": False,
}


@pytest.mark.parametrize("name", SALESFORCE)
def test_whatever_the_org_turns_out_to_be_like(sandbox: Sandbox, crmsync: Crmsync, name: str) -> None:
    sandbox.crm("switches", **{name: SALESFORCE[name]})
    sandbox.crm("page_sizes", sizes=[100])
    assert crmsync.pull("--full")["read"] == 300
    assert crmsync.pull()["written"] == 0
    if name != "country_picklists":
        sandbox.assert_in_step()
