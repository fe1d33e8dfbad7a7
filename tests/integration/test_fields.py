"""`crmsync fields`: the org beside the workspace, and a mapping that can be used as it is printed."""

from __future__ import annotations

import re

from .world import Crmsync, Sandbox


def line(text: str, name: str) -> str:
    """The line of a source or a target field."""
    (found,) = (line for line in text.splitlines() if re.search(rf"^  {name} |→  {name} ", line))
    return found


def test_both_sides_are_shown_with_what_deserves_attention(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.cdp("add_field", object="profiles", name="mobile_phone", type="string")
    sandbox.cdp("add_field", object="profiles", name="do_not_call", type="string")
    sandbox.cdp("remove_field", object="profiles", name="job_title")
    sandbox.crm("hide_field", object="Contact", field="Phone")
    run = crmsync.run("fields")
    assert run.code == 0
    assert re.search(r"Email +email +→ +email +string$", line(run.out, "Email"))
    assert "has no field Phone" in line(run.out, "Phone")
    assert "profiles has no field job_title" in line(run.out, "job_title")
    assert re.search(r"MobilePhone +phone +→ +mobile_phone +string$", line(run.out, "MobilePhone"))
    assert "boolean into string" in line(run.out, "DoNotCall")
    assert "formula" in line(run.out, "Account_Rating__c")
    assert "looks at" in line(run.out, "LastViewedDate")
    assert "belongs to commerce" in line(run.out, "ltv")


def test_a_suggestion_can_be_used_as_it_is_printed(sandbox: Sandbox, crmsync: Crmsync) -> None:
    sandbox.cdp("add_field", object="profiles", name="mobile_phone", type="string")
    sandbox.cdp("add_field", object="profiles", name="department", type="string")
    printed = crmsync.run("fields", "--suggest").out
    crmsync.configure(printed)
    assert crmsync.run("check").code == 0
    assert crmsync.pull("--full")["refused"] == {}
    written = sandbox.profiles()
    assert any(profile.get("mobile_phone") for profile in written)
    assert crmsync.run("fields", "--suggest").out.splitlines()[-1].startswith("# nothing else")


def test_the_object_holds_the_same_for_machines(sandbox: Sandbox, crmsync: Crmsync) -> None:
    told = crmsync.run("fields", "--json").json
    by_target = {row["target"]: row for row in told["fields"] if row["target"]}
    assert (told["sync"], told["unknown"]) == ("contacts", None)
    assert by_target["email"] == {
        "state": "mapped",
        "source": "Email",
        "label": "Email",
        "source_type": "email",
        "target": "email",
        "target_type": "string",
        "notes": [],
    }
    assert by_target["ltv"]["state"] == "target"


def test_a_schema_that_cannot_be_read_is_said_and_the_org_is_shown(
    sandbox: Sandbox, crmsync: Crmsync
) -> None:
    sandbox.fault("status", service="experiture", path="metadata", status=403, times=None)
    run = crmsync.run("fields")
    assert run.code == 0
    assert "could not be read" in run.err
    assert re.search(r"Email +email +→ +email +-$", line(run.out, "Email"))
    assert crmsync.run("fields", "--suggest", "--json").code == 2
