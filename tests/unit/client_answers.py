"""What tests of the client share: answers of a unit, and a time that passes only when it sleeps."""

import httpx

ACCEPTED = {"unit": "pio01", "task_id": "t1", "result_url_path": "/unit_api/task_results/t1"}


class FakeTime:
    def __init__(self):
        self.now = 100.0
        self.pauses = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def ok(body, status=200, **headers):
    return httpx.Response(status, json=body, headers=headers)


def record(status, http=None, headers=None, **more):
    body = {"task_id": "t1", "result_url_path": "/unit_api/task_results/t1", "status": status, **more}
    http = http or {"complete": 200, "failed": 500}.get(status, 202)
    return httpx.Response(http, json=body, headers=headers)
