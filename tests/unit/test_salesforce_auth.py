"""Logging in to Salesforce: what each login sends, what it makes of the answers, and how sessions are renewed."""

from __future__ import annotations

import base64
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
import requests
import responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crmsync.config import SalesforceSettings
from crmsync.errors import AuthError, ConfigError, CrmsyncError, Outage, TryAgain
from crmsync.http import NoAnswer, Retry, Stopper
from crmsync.sources.salesforce.auth import SalesforceAuth, audience
from crmsync.sources.salesforce.client import SalesforceClient

LOGIN = "https://acme.my.salesforce.com"
TOKEN_URL = f"{LOGIN}/services/oauth2/token"
INSTANCE = "https://acme--x.my.salesforce.com"


def settings(login: str, **given: str) -> SalesforceSettings:
    fields: dict[str, Any] = dict.fromkeys(SalesforceSettings.__dataclass_fields__)
    return SalesforceSettings(**{**fields, "login": login, "login_url": LOGIN, **given})


class KeptVault:
    """Keeps a refresh token in memory, and the order of what was done to it."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        self.events: list[str] = []

    def load(self) -> str | None:
        self.events.append("load")
        return self.token

    def save(self, refresh_token: str) -> None:
        self.events.append(f"save {refresh_token}")
        self.token = refresh_token

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        self.events.append("lock")
        yield
        self.events.append("unlock")


class Instantly(Stopper):
    def sleep(self, seconds: float) -> None:
        pass


def auth_of(given: SalesforceSettings, vault: KeptVault | None = None) -> SalesforceAuth:
    return SalesforceAuth(given, vault or KeptVault(), stopper=Instantly(), retry=Retry(attempts=3))


@pytest.fixture
def org() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def granted(token: str = "00D!1", **more: str) -> dict[str, str]:
    return {"access_token": token, "instance_url": INSTANCE, "token_type": "Bearer", **more}


def form_of(call: responses.Call) -> dict[str, str]:
    assert call.request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    body = call.request.body
    return dict(parse_qsl(body.decode() if isinstance(body, bytes) else str(body), strict_parsing=True))


CLIENT = settings("client_credentials", client_id="cid", client_secret="s3cret/+=")
REFRESH = settings("refresh_token", client_id="cid", refresh_token="r0")
PASSWORD = settings("password", username="it@acme.test", password="pw<&>", security_token="TOK")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


# --- what each login sends ----------------------------------------------------------------------------------


def test_a_given_token_needs_no_request(org: responses.RequestsMock) -> None:
    auth = auth_of(settings("token", access_token="00D!given", instance_url=INSTANCE))
    assert (auth.token(), auth.session().instance_url) == ("00D!given", INSTANCE)
    assert (len(org.calls), auth.requests) == (0, 0)
    assert auth.renew("00D!given") is False


def test_client_credentials_go_in_a_basic_header(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json=granted(), headers={"Date": "Mon, 02 Nov 2026 10:00:00 GMT"})
    session = auth_of(CLIENT).session()
    assert (session.token, session.instance_url) == ("00D!1", INSTANCE)
    assert session.clock is not None
    assert session.clock[0].isoformat() == "2026-11-02T10:00:00+00:00"
    assert form_of(org.calls[0]) == {"grant_type": "client_credentials"}
    scheme, _, pair = org.calls[0].request.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"cid:s3cret/+=")


def test_jwt_bearer_sends_a_signed_assertion(org: responses.RequestsMock, key: rsa.RSAPrivateKey) -> None:
    org.post(TOKEN_URL, json={"access_token": "00D!2", "scope": "api", "instance_url": INSTANCE, "id": "x"})
    auth = auth_of(settings("jwt", client_id="cid", username="it@acme.test", private_key=pem(key)))
    assert auth.token() == "00D!2"
    form = form_of(org.calls[0])
    assert form.pop("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    claims = jwt.decode(
        form.pop("assertion"), key.public_key(), ["RS256"], audience="https://login.salesforce.com"
    )
    assert form == {}
    assert {name: claims[name] for name in ("iss", "sub")} == {"iss": "cid", "sub": "it@acme.test"}
    assert isinstance(claims["exp"], int)
    assert 60 < claims["exp"] - time.time() <= 180
    assert "Authorization" not in org.calls[0].request.headers


@pytest.mark.parametrize(
    ("login_url", "expected"),
    [
        ("https://login.salesforce.com", "login"),
        ("https://test.salesforce.com", "test"),
        ("https://acme.my.salesforce.com", "login"),
        ("https://acme--dev.sandbox.my.salesforce.com", "test"),
        ("https://acme--dev.cs12.my.salesforce.com", "test"),
        ("https://fun-fox-dev-ed.scratch.my.salesforce.com", "test"),
        ("https://sandboxes.my.salesforce.com", "login"),
        ("http://127.0.0.1:8000", "login"),
    ],
)
def test_the_audience_is_login_or_test(login_url: str, expected: str) -> None:
    assert audience(login_url) == f"https://{expected}.salesforce.com"


@pytest.mark.parametrize("wrong", ["", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_a_matter_of_configuration(wrong: str, org: responses.RequestsMock) -> None:
    auth = auth_of(settings("jwt", client_id="cid", username="it@acme.test", private_key=wrong))
    with pytest.raises(ConfigError, match="SALESFORCE_PRIVATE_KEY_FILE") as raised:
        auth.token()
    assert "nonsense" not in str(raised.value)
    assert len(org.calls) == 0


def test_a_key_of_another_kind_is_a_matter_of_configuration() -> None:
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    auth = auth_of(settings("jwt", client_id="cid", username="it@acme.test", private_key=other))
    with pytest.raises(ConfigError, match="SALESFORCE_PRIVATE_KEY_FILE"):
        auth.token()


@pytest.mark.parametrize("secret", [None, "s3cret"])
def test_a_refresh_token_is_sent_with_the_secret_if_there_is_one(
    secret: str | None, org: responses.RequestsMock
) -> None:
    org.post(TOKEN_URL, json=granted())
    more = {"client_secret": secret} if secret else {}
    vault = KeptVault()
    auth = auth_of(settings("refresh_token", client_id="cid", refresh_token="r0", **more), vault)
    assert auth.token() == "00D!1"
    sent = {"grant_type": "refresh_token", "client_id": "cid", "refresh_token": "r0", **more}
    assert form_of(org.calls[0]) == sent
    assert vault.events == ["lock", "load", "unlock"]


def test_the_kept_refresh_token_goes_before_the_configured_one(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json=granted())
    auth_of(REFRESH, KeptVault("r7")).token()
    assert form_of(org.calls[0])["refresh_token"] == "r7"


def test_a_rotated_token_is_stored_before_the_new_session_is_used(org: responses.RequestsMock) -> None:
    vault = KeptVault()

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        vault.events.append("answer")
        return 200, {"Content-Type": "application/json"}, '{"access_token": "00D!1", "refresh_token": "r1"}'

    def used(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        vault.events.append(f"used {request.headers['Authorization']}")
        return 200, {}, "{}"

    org.add_callback("POST", TOKEN_URL, callback=answer)
    org.add_callback("GET", f"{LOGIN}/services/data/v62.0/limits", callback=used)
    auth = auth_of(REFRESH, vault)
    client = SalesforceClient(LOGIN, auth, version="62.0")
    client.get("/limits", "limits")
    assert vault.events == ["lock", "load", "answer", "save r1", "unlock", "used Bearer 00D!1"]


def test_a_rotated_token_that_cannot_be_stored_ends_the_login(org: responses.RequestsMock) -> None:
    class Full(KeptVault):
        def save(self, refresh_token: str) -> None:
            raise OSError("disk full")

    org.post(TOKEN_URL, json=granted(refresh_token="r1"))
    auth = auth_of(REFRESH, Full())
    with pytest.raises(OSError, match="disk full"):
        auth.token()
    assert auth._session is None


def test_every_renewal_sends_the_token_of_the_last(org: responses.RequestsMock) -> None:
    for number in range(1, 4):
        org.post(TOKEN_URL, json=granted(f"00D!{number}", refresh_token=f"r{number}"))
    auth = auth_of(REFRESH, KeptVault())
    for number in range(1, 4):
        assert auth.token() == f"00D!{number}"
        auth.renew(f"00D!{number}") if number < 3 else None
    assert [form_of(call)["refresh_token"] for call in org.calls] == ["r0", "r1", "r2"]


# --- what becomes of the answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_client", "error_description": "invalid client credentials"}, AuthError),
        (401, {"error": "invalid_client"}, AuthError),
        (400, {"error": "invalid_client_id", "error_description": "client identifier invalid"}, AuthError),
        (400, {"error": "invalid_grant", "error_description": "authentication failure"}, AuthError),
        (400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}, AuthError),
        (400, {"error": "invalid_grant"}, AuthError),
        (400, {"error": "unsupported_grant_type"}, AuthError),
        (403, "<html>forbidden</html>", AuthError),
        (400, {"error": "invalid_grant", "error_description": "login rate exceeded"}, TryAgain),
        (403, {"error": "x", "error_description": "Login Rate Exceeded"}, TryAgain),
        (503, "<html>down</html>", Outage),
        (429, "", Outage),
        (500, {"error": "unknown_error"}, Outage),
        (404, "<html>no</html>", ConfigError),
        (302, "", ConfigError),
        (200, "<html>hello</html>", ConfigError),
        (200, {"token_type": "Bearer"}, ConfigError),
        (200, [], ConfigError),
    ],
)
def test_a_refused_login_has_its_class(
    status: int, body: Any, kind: type[CrmsyncError], org: responses.RequestsMock
) -> None:
    options = {"body": body, "content_type": "text/html"} if isinstance(body, str) else {"json": body}
    org.post(TOKEN_URL, status=status, **options)
    with pytest.raises(CrmsyncError) as raised:
        auth_of(CLIENT).token()
    assert type(raised.value) is kind
    assert "s3cret" not in str(raised.value)


def test_a_wrong_secret_is_tried_once_and_exits_77(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, status=400, json={"error": "invalid_client"})
    with pytest.raises(AuthError) as raised:
        auth_of(CLIENT).token()
    assert raised.value.exit_code == 77
    assert "SALESFORCE_CLIENT_SECRET" in str(raised.value)
    assert len(org.calls) == 1


def test_a_login_that_may_pass_is_tried_again(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, status=503)
    org.post(TOKEN_URL, json=granted())
    auth = auth_of(CLIENT)
    assert auth.token() == "00D!1"
    assert auth.requests == 2


def test_an_instance_url_that_is_missing_is_the_login_host(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json={"access_token": "00D!1", "api_instance_url": "https://api.acme.test"})
    org.post(TOKEN_URL, json={"access_token": "00D!2"})
    assert auth_of(CLIENT).session().instance_url == "https://api.acme.test"
    assert auth_of(CLIENT).session().instance_url == LOGIN


def test_a_session_is_not_used_over_plain_http(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json={"access_token": "00D!1", "instance_url": "http://acme.my.salesforce.com"})
    with pytest.raises(AuthError, match="may not travel"):
        auth_of(CLIENT).token()


def test_a_session_does_not_show_its_token(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json=granted())
    assert "00D!1" not in repr(auth_of(CLIENT).session())


# --- renewal ------------------------------------------------------------------------------------------------


def together(count: int, task: Callable[[], object]) -> None:
    """Run a task in so many threads that start at once."""
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait(5)
        task()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)


def slow_grants(org: responses.RequestsMock) -> list[str]:
    """Answer each login with another token, slowly enough for threads to meet."""
    given: list[str] = []

    def answer(_: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        given.append(f"00D!{len(given) + 1}")
        time.sleep(0.05)
        return 200, {}, f'{{"access_token": "{given[-1]}", "instance_url": "{INSTANCE}"}}'

    org.add_callback("POST", TOKEN_URL, callback=answer)
    return given


def test_threads_log_in_once_and_renew_once(org: responses.RequestsMock) -> None:
    given = slow_grants(org)
    auth = auth_of(CLIENT)
    together(8, auth.token)
    assert given == ["00D!1"]
    renewed: list[bool] = []
    together(8, lambda: renewed.append(auth.renew("00D!1")))
    assert given == ["00D!1", "00D!2"]
    assert renewed == [True] * 8
    assert auth.token() == "00D!2"


def test_a_token_replaced_meanwhile_is_not_replaced_again(org: responses.RequestsMock) -> None:
    given = slow_grants(org)
    auth = auth_of(CLIENT)
    auth.token()
    auth.renew("00D!0")
    assert given == ["00D!1"]


def client_of(auth: SalesforceAuth) -> SalesforceClient:
    return SalesforceClient(INSTANCE, auth, version="62.0", stopper=Instantly())


LIMITS = f"{INSTANCE}/services/data/v62.0/limits"
EXPIRED = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_an_expired_session_is_renewed_and_the_request_repeated(org: responses.RequestsMock) -> None:
    slow_grants(org)
    org.get(LIMITS, status=401, json=EXPIRED)
    org.get(LIMITS, json={"x": 1})
    assert client_of(auth_of(CLIENT)).get("/limits", "limits") == {"x": 1}
    asked = [call.request for call in org.calls if call.request.method == "GET"]
    assert [request.headers["Authorization"] for request in asked] == ["Bearer 00D!1", "Bearer 00D!2"]


def test_a_permanent_401_never_loops(org: responses.RequestsMock) -> None:
    given = slow_grants(org)
    org.get(LIMITS, status=401, json=EXPIRED)
    with pytest.raises(AuthError) as raised:
        client_of(auth_of(CLIENT)).get("/limits", "limits")
    assert raised.value.exit_code == 77
    assert (len(given), len(org.calls)) == (2, 4)


def test_a_401_that_no_login_cures_is_not_renewed(org: responses.RequestsMock) -> None:
    given = slow_grants(org)
    message = "This session is not valid for use with the REST API"
    org.get(LIMITS, status=401, json=[{"message": message, "errorCode": "INVALID_SESSION_ID"}])
    with pytest.raises(AuthError):
        client_of(auth_of(CLIENT)).get("/limits", "limits")
    assert len(given) == 1


def test_a_given_token_that_has_expired_is_refused_at_once(org: responses.RequestsMock) -> None:
    org.get(LIMITS, status=401, json=EXPIRED)
    auth = auth_of(settings("token", access_token="00D!given", instance_url=INSTANCE))
    with pytest.raises(AuthError):
        client_of(auth).get("/limits", "limits")
    assert len(org.calls) == 1


def test_an_org_that_moved_ends_the_run(org: responses.RequestsMock) -> None:
    org.post(TOKEN_URL, json=granted("00D!1"))
    org.post(TOKEN_URL, json={"access_token": "00D!2", "instance_url": "https://na9.salesforce.com"})
    auth = auth_of(CLIENT)
    auth.token()
    with pytest.raises(TryAgain, match="moved"):
        auth.renew("00D!1")


# --- SOAP ---------------------------------------------------------------------------------------------------

SOAP_URL = f"{LOGIN}/services/Soap/u/59.0"


def soap(*, expired: str = "false", server: str = f"{INSTANCE}/services/Soap/u/59.0/00D1") -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com">
<soapenv:Body><loginResponse><result><passwordExpired>{expired}</passwordExpired>
<serverUrl>{server}</serverUrl><sessionId>00D!soap</sessionId></result></loginResponse></soapenv:Body>
</soapenv:Envelope>"""


def fault(code: str) -> str:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
 xmlns:sf="urn:fault.partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<soapenv:Body><soapenv:Fault><faultcode>{code}</faultcode><faultstring>{code}: no</faultstring><detail>
<sf:LoginFault xsi:type="sf:LoginFault"><sf:exceptionCode>{code}</sf:exceptionCode>
<sf:exceptionMessage>it@acme.test may not</sf:exceptionMessage></sf:LoginFault></detail>
</soapenv:Fault></soapenv:Body></soapenv:Envelope>"""


def test_soap_login_goes_to_the_configured_host(
    org: responses.RequestsMock, caplog: pytest.LogCaptureFixture
) -> None:
    org.post(SOAP_URL, body=soap(), content_type="text/xml")
    with caplog.at_level(logging.WARNING):
        session = auth_of(PASSWORD).session()
    assert (session.token, session.instance_url) == ("00D!soap", INSTANCE)
    body = org.calls[0].request.body
    text = body.decode() if isinstance(body, bytes) else str(body)
    assert "<n1:username>it@acme.test</n1:username>" in text
    assert "<n1:password>pw&lt;&amp;&gt;TOK</n1:password>" in text
    assert org.calls[0].request.headers["SOAPAction"] == "login"
    assert "deprecated" in caplog.text


def test_soap_login_has_a_timeout(org: responses.RequestsMock) -> None:
    org.post(SOAP_URL, body=soap(), content_type="text/xml")
    auth_of(PASSWORD).token()
    timeout = org.calls[0].request.req_kwargs["timeout"]  # type: ignore[attr-defined]  # noted by responses
    assert all(0 < seconds <= 60 for seconds in timeout)


def test_soap_login_of_this_machine_keeps_its_port(org: responses.RequestsMock) -> None:
    local = settings("password", username="it@acme.test", password="pw", login_url="http://127.0.0.1:8123")
    org.post(
        "http://127.0.0.1:8123/services/Soap/u/59.0",
        body=soap(server="http://127.0.0.1:8123/services/Soap/u/59.0/00D1"),
        content_type="text/xml",
    )
    assert auth_of(local).session().instance_url == "http://127.0.0.1:8123"


def test_an_expired_password_is_refused(org: responses.RequestsMock) -> None:
    org.post(SOAP_URL, body=soap(expired="true"), content_type="text/xml")
    with pytest.raises(AuthError, match="expired"):
        auth_of(PASSWORD).token()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, fault("INVALID_LOGIN"), AuthError),
        (500, fault("API_DISABLED_FOR_ORG"), AuthError),
        (500, fault("SERVER_UNAVAILABLE"), Outage),
        (503, "<html>We are <br> setting things up</html>", Outage),
        (503, "", Outage),
        (500, "<soapenv:Envelope xmlns:soapenv='x'/>", Outage),
        (502, b"\xff\xfe no text", Outage),
        (302, "", ConfigError),
        (404, "<html>no</html>", ConfigError),
        (200, "<html><br>a login page</html>", ConfigError),
        (200, fault("INVALID_LOGIN"), AuthError),
    ],
)
def test_soap_refusals_have_their_class(
    status: int, body: Any, kind: type[CrmsyncError], org: responses.RequestsMock
) -> None:
    org.post(SOAP_URL, status=status, body=body, content_type="text/xml")
    with pytest.raises(CrmsyncError) as raised:
        auth_of(PASSWORD).token()
    assert type(raised.value) is kind
    assert "acme.test" not in raised.value.message
    assert len(org.calls) == 1


def test_soap_without_an_answer_is_an_outage(org: responses.RequestsMock) -> None:
    org.post(SOAP_URL, body=requests.ConnectionError("pw<&>TOK"))
    with pytest.raises(NoAnswer) as raised:
        auth_of(PASSWORD).token()
    assert "TOK" not in str(raised.value)
