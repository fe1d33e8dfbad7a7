"""On the tap's PYTHONPATH: its login host is fixed, so that one request is taken to the benchmark's servers."""

import os

from requests.adapters import HTTPAdapter

_send = HTTPAdapter.send


def _redirected(self, request, *args, **kwargs):
    request.url = request.url.replace("https://login.salesforce.com", os.environ["BASE_URL"], 1)
    return _send(self, request, *args, **kwargs)


HTTPAdapter.send = _redirected
