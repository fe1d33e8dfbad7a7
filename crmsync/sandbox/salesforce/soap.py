"""The SOAP login call: a username, a password with the security token behind it, and a session for them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from crmsync.sandbox.salesforce.sessions import ORG_ID, USER_ID, Credentials, Sessions
from crmsync.sandbox.salesforce.switches import Switches
from crmsync.sandbox.salesforce.values import long_id
from crmsync.sandbox.web import Request, Response

PARTNER = "urn:partner.soap.sforce.com"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
LAST_VERSION = 64.0
WRONG_LOGIN = "Invalid username, password, security token; or user locked out."


class SoapLogin:
    """Answers POST /services/Soap/u/NN.N."""

    def __init__(self, credentials: Credentials, sessions: Sessions, switches: Switches) -> None:
        self._credentials = credentials
        self._sessions = sessions
        self._switches = switches

    def answer(self, request: Request, version: str, base_url: str) -> Response:
        """200 with a session, or 500 with a fault. Elements are found by namespace, whatever their prefix."""
        if float(version) > LAST_VERSION or not self._switches["soap_login"]:
            return self._fault("UNSUPPORTED_API_VERSION", "SOAP login is not available")
        try:
            body = ET.fromstring(request.body).find(f"{{{ENVELOPE}}}Body")
        except ET.ParseError:
            return self._fault("UNKNOWN_EXCEPTION", "the request is not well-formed XML")
        login = body.find(f"{{{PARTNER}}}login") if body is not None else None
        if login is None:
            return self._fault("UNKNOWN_EXCEPTION", "No operation available for request")
        username = login.findtext(f"{{{PARTNER}}}username", "")
        password = login.findtext(f"{{{PARTNER}}}password", "")
        right = self._credentials.is_password(password, trusted=self._switches["trusted_address"])
        if username != self._credentials.username or not right:
            return self._fault("INVALID_LOGIN", WRONG_LOGIN)
        expired: bool = self._switches["password_expired"]
        session = self._sessions.open(crippled=expired)
        return _xml(200, _result(session.token, base_url, version, expired=expired))

    def _fault(self, code: str, message: str) -> Response:
        prefix = self._switches["soap_fault_prefix"]
        return _xml(
            500,
            f'<soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns:sf="urn:fault.partner.soap.sforce.com" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
            f"<faultcode>{prefix}{code}</faultcode><faultstring>{code}: {escape(message)}</faultstring>"
            '<detail><sf:LoginFault xsi:type="sf:LoginFault">'
            f"<sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{escape(message)}</sf:exceptionMessage>"
            "</sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>",
        )


def _result(token: str, base_url: str, version: str, *, expired: bool) -> str:
    org = long_id(ORG_ID)
    host = escape(base_url)
    user = {
        "accessibilityMode": "false",
        "currencySymbol": "$",
        "orgAttachmentFileSizeLimit": "5242880",
        "orgDefaultCurrencyIsoCode": "USD",
        "orgDisallowHtmlAttachments": "false",
        "orgHasPersonAccounts": "false",
        "organizationId": org,
        "organizationMultiCurrency": "false",
        "organizationName": "Sandbox",
        "profileId": "00eFk0000000001AAA",
        "roleId": None,
        "sessionSecondsValid": "7200",
        "userDefaultCurrencyIsoCode": None,
        "userEmail": "integration@sandbox.example",
        "userFullName": "Integration User",
        "userId": USER_ID,
        "userLanguage": "en_US",
        "userLocale": "en_US",
        "userName": "integration@sandbox.example",
        "userTimeZone": "America/Los_Angeles",
        "userType": "Standard",
        "userUiSkin": "Theme3",
    }
    info = "".join(
        f'<{name} xsi:nil="true"/>' if text is None else f"<{name}>{text}</{name}>"
        for name, text in user.items()
    )
    return (
        f'<soapenv:Envelope xmlns:soapenv="{ENVELOPE}" xmlns="{PARTNER}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><loginResponse><result>'
        f"<metadataServerUrl>{host}/services/Soap/m/{version}/{org}</metadataServerUrl>"
        f"<passwordExpired>{str(expired).lower()}</passwordExpired><sandbox>true</sandbox>"
        f"<serverUrl>{host}/services/Soap/u/{version}/{org}</serverUrl>"
        f"<sessionId>{escape(token)}</sessionId><userId>{USER_ID}</userId><userInfo>{info}</userInfo>"
        "</result></loginResponse></soapenv:Body></soapenv:Envelope>"
    )


def _xml(status: int, text: str) -> Response:
    document = f'<?xml version="1.0" encoding="UTF-8"?>{text}'
    return Response(status, document.encode(), {"Content-Type": "text/xml;charset=UTF-8"})
