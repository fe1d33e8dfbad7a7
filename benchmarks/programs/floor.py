"""The floor: repeats the requests of a run that was recorded, and does nothing else.

It follows the same pages, and posts the same bodies as soon as the page with their last contact is there, with
the same limits: 8 requests at once, 32 jobs accepted and unfinished. It knows how long a job takes and asks
once, when it is done. No JSON is read, nothing is mapped, kept or written.

Environment: RECORDING (a folder), BASE_URL, TOKEN, API_KEY, JOB_SECONDS.
"""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import urllib3

IN_FLIGHT = 8
JOBS = 32
BASE = os.environ["BASE_URL"]
JOB_SECONDS = float(os.environ["JOB_SECONDS"])
MORE = re.compile(rb'"nextRecordsUrl":\s*"([^"]+)"')
JOB = re.compile(rb'"jobId":\s*"([^"]+)"')
BATCH = f"{BASE}/public/v1/records/profiles"

pool = urllib3.PoolManager(maxsize=IN_FLIGHT + 2)
crm = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Accept-Encoding": "gzip"}
cdp = {"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json; charset=utf-8"}
jobs = threading.Semaphore(JOBS)
asked = threading.Semaphore(IN_FLIGHT)


def post(body: bytes) -> tuple[str, float] | None:
    """Post one batch; give its job, and when that will be done."""
    with asked:
        reply = pool.request("POST", f"{BATCH}/upsert-batch", body=body, headers=cdp)
    assert reply.status in (200, 202), reply.data
    job = JOB.search(reply.data)
    return (job[1].decode(), time.monotonic() + JOB_SECONDS) if job else None


def deliver(body: bytes) -> None:
    """Post one batch and see its job to the end."""
    job = post(body)
    if job is not None:
        time.sleep(max(0.0, job[1] - time.monotonic()))
        while True:
            with asked:
                reply = pool.request("GET", f"{BATCH}/jobs/{job[0]}", headers=cdp)
            if b'"completed"' in reply.data:
                break
            time.sleep(0.005)
    jobs.release()


def main() -> None:
    folder = Path(os.environ["RECORDING"])
    recording = orjson.loads((folder / "recording.json").read_bytes())
    bodies = recording["bodies"]
    target, page, at = recording["targets"][0], 0, 0
    with (folder / "bodies.bin").open("rb") as file, ThreadPoolExecutor(JOBS) as couriers:
        under_way = []
        while target:
            body = pool.request("GET", BASE + target, headers=crm).data
            more = MORE.search(body, 0, 500)
            target = more[1].decode() if more else ""
            while at < len(bodies) and (bodies[at][0] <= page or not target):
                jobs.acquire()
                under_way.append(couriers.submit(deliver, file.read(bodies[at][1])))
                at += 1
            page += 1
        for each in under_way:
            each.result()


main()
