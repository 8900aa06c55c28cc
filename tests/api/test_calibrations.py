"""Calibrations and estimators over the API: each endpoint's success and each of its errors."""

from __future__ import annotations

import io
import zipfile

import pytest
from calibration_examples import CALIBRATIONS, FUSED, OD600, PUMP, replaced

from reactor_unit.resources.response_schemas import (
    CalibrationAnswer,
    EstimatorAnswer,
    ProtocolAnswer,
)

from .fakes import LocalClient, raw_request

ALL = "/unit_api/calibrations"
OD90 = f"{ALL}/od90"
ACTIVE = "/unit_api/active_calibrations"


def upload(client, text=OD600, path=OD90, **more):
    return client.simulate_post(path, json={"calibration_data": text, **more})


def actives(client):
    answer = client.simulate_get(ACTIVE)
    assert answer.status_code == 200
    return {device: one["calibration_name"] for device, one in answer.json.items()}


def test_a_fresh_unit_has_none(client, refused):
    for path in (ALL, ACTIVE, "/unit_api/estimators", "/unit_api/active_estimators"):
        answer = client.simulate_get(path)
        assert (answer.status_code, answer.json) == (200, {})
    refused(client.simulate_get(OD90), 404)
    assert client.simulate_get("/unit_api/estimators/od_fused").json == []
    zipped = client.simulate_get("/unit_api/zipped_calibrations")
    assert zipfile.ZipFile(io.BytesIO(zipped.content)).namelist() == []


@pytest.mark.parametrize("kind", CALIBRATIONS)
def test_an_uploaded_calibration_is_shown(client, folder, kind):
    answer = upload(client, CALIBRATIONS[kind])
    name = next(line.split()[1] for line in CALIBRATIONS[kind].splitlines() if "calibration_name" in line)
    path = folder.storage / "calibrations" / "od90" / f"{name}.yaml"
    assert answer.status_code == 201
    assert answer.json == {"msg": "Calibration created successfully.", "path": str(path)}
    assert path.read_text() == CALIBRATIONS[kind]
    one = client.simulate_get(f"{OD90}/{name}").json
    assert CalibrationAnswer().validate(one) == {}
    assert (one["is_active"], one["pioreactor_unit"], one["calibration_type"]) == (False, "pio01", kind)
    assert client.simulate_get(OD90).json == [one]
    assert client.simulate_get(ALL).json == {"od90": [one]}
    assert actives(client) == {}


def test_clients_ask_before_they_use_an_answer_again(client):
    assert client.simulate_get(ALL).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "calibration_data is required"),
        ({"calibration_data": None}, "must be text"),
        ({"calibration_data": {"a": 1}}, "must be text"),
        ({"calibration_data": ""}, "empty"),
        ({"calibration_data": "a: [1"}, "line"),
        ({"calibration_data": "calibration_type: od"}, "calibration_name is required"),
        ({"calibration_data": FUSED}, "calibration_type"),
        ({"calibration_data": "a: &a [x, x]\nb: [*a, *a]"}, "*a stands for"),
        ({"calibration_data": OD600.replace("70.0", ".nan")}, "finite"),
        ({"calibration_data": OD600.replace("'90'", "90")}, "angle must be text"),
        ({"calibration_data": OD600.replace("od-demo", "'../x'")}, "calibration_name '../x'"),
        ({"calibration_data": OD600.replace("od-demo", ".x")}, "calibration_name '.x'"),
        ({"calibration_data": OD600.replace("od-demo", "x" * 251)}, "calibration_name"),
        ({"calibration_data": "x" * 300_000}, "more than 262144"),
        ({"calibration_data": OD600, "set_as_active": 1}, "set_as_active must be true or false"),
        ({"calibration_data": OD600, "set_as_active": "true"}, "set_as_active must be true or false"),
        ({"calibration_data": OD600, "overwrite": None}, "overwrite must be true or false"),
        ({"calibration_data": OD600, "active": True}, "'active' is not a known field"),
    ],
    ids=range(18),
)
def test_a_wrong_upload_is_refused_and_touches_nothing(client, folder, refused, body, reason):
    assert reason in refused(client.simulate_post(OD90, json=body), 400)
    assert not folder.storage.exists()


def test_other_content_types_are_415(client, refused):
    refused(client.simulate_post(OD90, body=OD600, headers={"Content-Type": "application/yaml"}), 415)


BAD_SEGMENTS = ["..", ".", ".a", "-a", "a%00", "a%0A", "%7F", "x" * 251, "%E2%80%AEa", "%FF"]


@pytest.mark.parametrize("segment", BAD_SEGMENTS)
@pytest.mark.parametrize(
    ("method", "template"),
    [
        ("POST", "/unit_api/calibrations/{}"),
        ("GET", "/unit_api/calibrations/{}"),
        ("GET", "/unit_api/calibrations/{}/a"),
        ("GET", "/unit_api/calibrations/od90/{}"),
        ("DELETE", "/unit_api/calibrations/{}/a"),
        ("DELETE", "/unit_api/calibrations/od90/{}"),
        ("PATCH", "/unit_api/active_calibrations/{}/a"),
        ("PATCH", "/unit_api/active_calibrations/od90/{}"),
        ("DELETE", "/unit_api/active_calibrations/{}"),
        ("GET", "/unit_api/estimators/{}"),
        ("GET", "/unit_api/estimators/{}/a"),
        ("DELETE", "/unit_api/estimators/od_fused/{}"),
        ("PATCH", "/unit_api/active_estimators/{}/a"),
        ("DELETE", "/unit_api/active_estimators/{}"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_and_touches_nothing(app, client, folder, method, template, segment):
    upload(client)
    before = {file: file.read_bytes() for file in folder.path.rglob("*") if file.is_file()}
    target = template.format(segment)
    body = b'{"calibration_data":""}' if method == "POST" else b""
    decoded = template.format(segment.replace("%00", "\0").replace("%0A", "\n").replace("%7F", "\x7f"))
    decoded = decoded.replace("%E2%80%AE", "\u202e".encode().decode("latin-1")).replace("%FF", "\xff")
    status, content, _ = raw_request(app, target, method=method, body=body, PATH_INFO=decoded)
    assert status == 400, content
    assert {file: file.read_bytes() for file in folder.path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("target", ["od90%2F..%2Fx", "%2e%2e%2fx"])
def test_an_encoded_slash_matches_no_endpoint(app, target):
    assert raw_request(app, f"{ALL}/{target}", PATH_INFO=f"{ALL}/od90/../x")[0] == 404


def test_a_name_that_exists_is_a_conflict_unless_it_may_be_overwritten(client, refused):
    assert upload(client).status_code == 201
    assert upload(client).status_code == 201
    other = OD600.replace("70.0", "60.0")
    assert '"overwrite": true' in refused(upload(client, other), 409)
    assert client.simulate_get(f"{OD90}/od-demo").json["ir_led_intensity"] == 70.0
    assert upload(client, other, overwrite=True).status_code == 201
    assert client.simulate_get(f"{OD90}/od-demo").json["ir_led_intensity"] == 60.0


def test_an_upload_may_become_the_active_one(client):
    upload(client, set_as_active=True)
    assert actives(client) == {"od90": "od-demo"}
    upload(client, OD600.replace("od-demo", "b"))
    assert actives(client) == {"od90": "od-demo"}
    assert [one["is_active"] for one in client.simulate_get(OD90).json] == [False, True]


def test_one_can_be_made_active_and_none_again(client, refused):
    upload(client)
    upload(client, PUMP, f"{ALL}/media_pump")
    refused(client.simulate_patch(f"{ACTIVE}/od90/none"), 404)
    refused(client.simulate_patch(f"{ACTIVE}/od45/od-demo"), 404)
    assert actives(client) == {}
    for device, name in (("od90", "od-demo"), ("media_pump", "media-demo")):
        answer = client.simulate_patch(f"{ACTIVE}/{device}/{name}")
        assert (answer.status_code, answer.json) == (200, {"status": "success"})
    assert actives(client) == {"media_pump": "media-demo", "od90": "od-demo"}
    for _ in range(2):
        assert client.simulate_delete(f"{ACTIVE}/od90").json == {"status": "success"}
    assert actives(client) == {"media_pump": "media-demo"}
    refused(client.simulate_post(f"{ACTIVE}/media_pump/media-demo"), 405)


def test_a_deleted_calibration_is_gone_and_no_longer_active(client, refused):
    upload(client, set_as_active=True)
    answer = client.simulate_delete(f"{OD90}/od-demo")
    assert answer.json == {"msg": "Calibration 'od-demo' for device 'od90' deleted successfully."}
    assert actives(client) == {}
    for call in (client.simulate_get, client.simulate_delete):
        refused(call(f"{OD90}/od-demo"), 404)
    assert client.simulate_get(OD90).json == []
    assert client.simulate_get(ALL).json == {}


def test_a_broken_file_hides_no_other_and_says_what_is_wrong_with_it(client, folder, refused):
    upload(client, set_as_active=True)
    (folder.storage / "calibrations" / "od90" / "bad.yaml").write_text("calibration_type: od\n")
    assert len(client.simulate_get(ALL).json["od90"]) == 1
    assert len(client.simulate_get(OD90).json) == 1
    assert actives(client) == {"od90": "od-demo"}
    told = refused(client.simulate_get(f"{OD90}/bad"), 500)
    assert "calibration_name is required" in told
    assert "bad.yaml" in told
    refused(client.simulate_patch(f"{ACTIVE}/od90/bad"), 500)
    assert client.simulate_delete(f"{OD90}/bad").status_code == 200


def test_a_database_that_cannot_be_used_is_503_and_then_replaced(client, library, refused):
    upload(client)
    library.calibrations._active_names._path.write_bytes(b"no database" * 100)
    refused(client.simulate_get(ALL), 503)
    assert client.simulate_get(ALL).status_code == 200


def test_the_archive_holds_every_file_as_it_is(client, folder):
    upload(client)
    upload(client, PUMP, f"{ALL}/media_pump")
    calibrations = folder.storage / "calibrations"
    (calibrations / "od90" / "bad.yaml").write_text("broken: [")
    (calibrations / "od90" / "large.yaml").write_bytes(bytes(range(256)) * 4096)
    (calibrations / "od90" / "folder.yaml").mkdir()
    (calibrations / "od90" / "gone.yaml").symlink_to("nowhere")
    answer = client.simulate_get("/unit_api/zipped_calibrations")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="pio01_calibrations.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        files = {
            str(path.relative_to(calibrations)): path.read_bytes()
            for path in calibrations.rglob("*.yaml")
            if path.is_file()
        }
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_head_of_the_archive_says_no_length(client):
    head = client.simulate_head("/unit_api/zipped_calibrations")
    assert (head.status_code, head.content) == (200, b"")
    assert "content-length" not in head.headers


def test_the_archive_is_made_in_pieces(tmp_path):
    from reactor_unit.zip_stream import PIECE_BYTES, opened, stream_zip

    path = tmp_path / "a"
    path.write_bytes(__import__("os").urandom(20 * PIECE_BYTES))
    assert max(map(len, stream_zip(opened([("a", path)])))) < 3 * PIECE_BYTES


def test_the_protocols_are_listed(client):
    listed = client.simulate_get("/unit_api/calibration_protocols").json
    assert ProtocolAnswer(many=True).validate(listed) == {}
    assert {one["protocol_name"] for one in listed} == {
        "standards", "od_fusion_standards", "od_fusion_offset", "duration_based", "dc_based",
    }  # fmt: skip
    assert [one["id"] for one in listed if one["target_device"] == "stirring"] == ["stirring_dc_based"]


# Estimators

FUSED_PATH = "/unit_api/estimators/od_fused"


@pytest.fixture
def fused(library):
    library.estimators.create("od_fused", FUSED.encode())


@pytest.mark.usefixtures("fused")
def test_an_estimator_is_shown(client, refused):
    one = client.simulate_get(f"{FUSED_PATH}/fused-demo").json
    assert EstimatorAnswer().validate(one) == {}
    assert (one["is_active"], one["pioreactor_unit"], one["device"]) == (False, "pio01", "od_fused")
    assert client.simulate_get(FUSED_PATH).json == [one]
    assert client.simulate_get("/unit_api/estimators").json == {"od_fused": [one]}
    refused(client.simulate_get(f"{FUSED_PATH}/none"), 404)
    refused(client.simulate_post(FUSED_PATH, json={}), 405)


@pytest.mark.usefixtures("fused")
def test_an_estimator_can_be_active_and_deleted(client, refused):
    active = "/unit_api/active_estimators"
    refused(client.simulate_patch(f"{active}/od_fused/none"), 404)
    assert client.simulate_patch(f"{active}/od_fused/fused-demo").json == {"status": "success"}
    (shown,) = client.simulate_get(active).json.values()
    assert EstimatorAnswer().validate({**shown, "device": "od_fused"}) == {}
    assert "device" not in shown
    assert shown["is_active"] is True
    assert client.simulate_delete(f"{active}/od_fused").json == {"status": "success"}
    assert client.simulate_get(active).json == {}
    client.simulate_patch(f"{active}/od_fused/fused-demo")
    answer = client.simulate_delete(f"{FUSED_PATH}/fused-demo")
    assert answer.json == {"msg": "Estimator 'fused-demo' for device 'od_fused' deleted successfully."}
    assert client.simulate_get(active).json == {}
    refused(client.simulate_delete(f"{FUSED_PATH}/fused-demo"), 404)


def test_a_unit_with_an_odd_name_still_answers_json(gateway, answers, library):

    from reactor_unit.app import create_app

    library.calibrations.create("a b", replaced(OD600, "od-demo", "a b").encode())
    app = create_app(gateway, answers, unit_name='p"é\n', version="1.0.0", catalogue={}, library=library)
    client = LocalClient(app)
    (one,) = client.simulate_get(ALL).json["a b"]
    assert one["pioreactor_unit"] == 'p"é\n'
    assert client.simulate_get("/unit_api/zipped_calibrations").status_code == 200
