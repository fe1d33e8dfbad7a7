"""What nobody has confirmed about the services: whatever is true, the profiles come out the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .world import Crmsync, Sandbox

WORLDS = 7
"""As many as the switch with the most values has."""
DECIDES_ANOTHER_OUTCOME = {
    "api_key": "the static key, which these runs do not use",
    "granted_scopes": "a scope that is missing is an error",
    "records_scope": "likewise",
    "jobs_scope": "likewise",
    "email_format": "a stricter CDP refuses odd addresses",
    "longest_string": "and long values",
    "job_fate": "jobs that never end prove nothing",
    "metadata": "a schema that cannot be read is warned of",
    "rate_limit": "costs time only",
    "row_report": "which records were refused has to be told somehow",
    "counts_at": "likewise",
}
"""Switches that are left alone here, and why. Other tests turn them."""
SALESFORCE = {
    "page_values": "query",
    "deleted_between_pages": "appear",
    "empty_last_page": True,
    "locator_prefix": "01g",
    "limit_header": "absent",
    "limits": "forbidden",
    "record_count": "exact",
    "unsupported_version": 410,
    "error_description": False,
}


def world(number: int, switches: dict[str, Any]) -> dict[str, Any]:
    """A value for every switch; over all worlds each value of each switch occurs."""
    free = {
        name: switch["values"] for name, switch in switches.items() if name not in DECIDES_ANOTHER_OUTCOME
    }
    shuffled = {name: random.Random(name).sample(values, len(values)) for name, values in free.items()}
    return {name: values[number % len(values)] for name, values in shuffled.items()}


def test_there_are_worlds_enough(sandbox: Sandbox) -> None:
    switches = sandbox.cdp("switches")
    assert switches.keys() >= DECIDES_ANOTHER_OUTCOME.keys()
    assert max(len(switch["values"]) for switch in switches.values()) <= WORLDS


@pytest.mark.parametrize("number", range(WORLDS))
def test_whatever_the_cdp_turns_out_to_be_like(sandbox: Sandbox, crmsync: Crmsync, number: int) -> None:
    turned = world(number, sandbox.cdp("switches"))
    sandbox.cdp("switches", **turned)
    crmsync.settings["CRMSYNC_BATCH_SIZE"] = "100"
    crmsync.pull("--full")
    sandbox.assert_in_step()
    sandbox.retitle(sandbox.delivered()[:3], f"Changed in world {number}")
    assert crmsync.pull()["written"] == 3, turned
    sandbox.assert_in_step()


@pytest.mark.parametrize("replication", ["forbidden", "not_replicateable"])
def test_whatever_the_org_turns_out_to_be_like(sandbox: Sandbox, crmsync: Crmsync, replication: str) -> None:
    """Everything at once as it is not assumed to be; /updated and /deleted are of no help."""
    sandbox.crm("switches", updated=replication, deleted=replication, **SALESFORCE)
    sandbox.crm("page_sizes", sizes=[100])
    assert crmsync.pull("--full")["read"] == 300
    sandbox.assert_in_step()
    sandbox.retitle(sandbox.delivered()[:3], "Changed")
    assert crmsync.pull()["written"] == 3
    sandbox.assert_in_step()
