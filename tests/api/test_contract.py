"""Every endpoint of the contract is there, and PATCH wherever the reference takes it."""

import re

import pytest
from archives import archive, uploaded
from calibration_examples import FUSED, OD600

from reactor_unit.calibrations.session_store import Session
from reactor_unit.uploads import UPLOAD

from .contract_endpoints import ENDPOINTS
from .fakes import LocalClient, row

IMPORT = "/unit_api/import_zipped_dot_pioreactor"
BODIES = {
    "/unit_api/system/utc_clock": {"utc_clock_time": "2026-01-31T12:45:00Z"},
    "/unit_api/jobs/stop": {"job_name": "stirring"},
    "/unit_api/plugins/install": {"args": ["my-plugin"]},
    "/unit_api/plugins/uninstall": {"args": ["my-plugin"]},
    "/unit_api/system/remove_file": {"filepath": "logs/old.log"},
    "/unit_api/calibrations/od90": {"calibration_data": OD600.replace("od-demo", "new")},
    "/unit_api/calibrations/sessions": {"target_device": "stirring", "protocol_name": "dc_based"},
}
PATCH_TOO = [
    "/unit_api/hardware/check",
    "/unit_api/jobs/run/job_name/stirring",
    "/unit_api/jobs/stop",
    "/unit_api/jobs/stop/all",
    "/unit_api/plugins/install",
    "/unit_api/plugins/uninstall",
    "/unit_api/system/reboot",
    "/unit_api/system/remove_file",
    "/unit_api/system/shutdown",
    "/unit_api/system/update",
    "/unit_api/system/update/app",
    "/unit_api/system/utc_clock",
    "/unit_api/system/web_server/restart",
]


def filled(template):
    """Return the template's path with every parameter given a value that exists in the fakes."""
    known = {"job_name": "stirring", "setting": "target_rpm", "task_id": "t", "req_path": "storage/calibrations"}
    known |= {"device": "od_fused", "estimator_name": "fused-demo"} if "estimator" in template else {"device": "od90"}
    known |= {"filename": "demo.py"}
    known |= {"cal_name": "od-demo", "calibration_name": "od-demo", "target": "app"}
    return re.sub(r"{(\w+)}", lambda match: known.get(match[1], "x1"), template)


@pytest.fixture
def unit(client, gateway, library, folder):
    from reactor_unit.gateway_protocol import TaskAnswer

    folder.plugins.mkdir()
    (folder.plugins / "demo.py").write_text("x = 1\n")

    library.calibrations.create("od90", OD600.encode())
    library.estimators.create("od_fused", FUSED.encode())
    library.sessions.put(Session("x1", "duration_based", "media_pump", "intro_confirm_1"))

    gateway.tasks["t"] = TaskAnswer(200, b'{"task_id":"t","status":"complete","result":null}')
    gateway.published["stirring"] = {"target_rpm": 200.0}
    gateway.rows = [row("stirring")]
    return client


def test_the_contract_has_52_endpoints():
    assert len(set(ENDPOINTS)) == 52


@pytest.mark.parametrize(("method", "template"), ENDPOINTS, ids=lambda value: value)
def test_an_endpoint_answers_what_the_contract_says(unit, gateway, refused, method, template, tmp_path):
    path = filled(template)
    if path.endswith("/sessions"):
        gateway.rows = []  # a stirrer that runs cannot be calibrated
    if template == IMPORT:
        response = unit.simulate_post(path, extras={UPLOAD: uploaded(tmp_path, archive("pio01"))})
    else:
        response = unit.simulate_request(method, path, json=BODIES.get(path, {}) if method != "GET" else None)
    if template == "/unit_api/jobs/settings/job_name/{job_name}" and method == "PATCH":
        refused(response, 503)
    else:
        assert response.status_code in (200, 201, 202)


@pytest.mark.parametrize("path", PATCH_TOO)
def test_patch_is_taken_wherever_the_reference_takes_it_beside_post(unit, path):
    assert unit.simulate_patch(path, json=BODIES.get(path, {})).status_code == 202


def test_routes_may_be_added(gateway, answers, library):
    import falcon

    from reactor_unit.app import create_app

    class Extra:
        def on_get(self, req, resp):
            resp.data = b"{}"

    def extend(app):
        assert LocalClient(app).simulate_get("/unit_api/health").status_code == 200  # it comes last
        assert LocalClient(app).simulate_post("/unit_api/system/update", json={}).status_code == 202
        app.add_route("/unit_api/extra", Extra())

    app = create_app(gateway, answers, unit_name="u", version="1.0.0", catalogue={}, library=library, extend=extend)
    assert isinstance(app, falcon.App)
    assert LocalClient(app).simulate_get("/unit_api/extra").status_code == 200
