"""What the unit can do, which plugins there are, and the text of those that are files."""

import json
import re

import pytest

from reactor_unit.app import create_app
from reactor_unit.catalogue import Catalogue
from reactor_unit.errors import Unavailable
from reactor_unit.job_spec import Automation, JobSpec
from reactor_unit.plugins import Plugin, Report
from reactor_unit.resources.response_schemas import CapabilitiesAnswer, InstalledPlugin
from reactor_unit.workers.jobs import JOBS

from .fakes import CATALOGUE, LocalClient

LED = JobSpec("led_automation", "", automations=(Automation("silent", "Nothing."),))
GAS = Report(
    Plugin("plugins/gas.py", "1", path="/srv/plugins/gas.py", name="gas-demo", version="0.3"), (JobSpec("gas", "Mix."),)
)
INSTALLED = Report(Plugin("their-plugin", "1", name="their-plugin", version="0.1", homepage="https://example.org"))


@pytest.fixture
def catalogue():
    return Catalogue({**CATALOGUE, "led_automation": LED})


@pytest.fixture
def app(gateway, answers, library, folder, catalogue):
    return create_app(
        gateway, answers, unit_name="u", version="1", catalogue=catalogue, library=library, plugins=folder.plugins
    )


def test_capabilities_are_an_object_of_jobs_and_settings(client):
    answer = client.simulate_get("/unit_api/capabilities")
    assert answer.status_code == 200
    assert CapabilitiesAnswer().validate(answer.json) == {}
    names = [entry["job_name"] for entry in answer.json["jobs"]]
    assert names == ["led_automation", "od_reading", "od_reading forget_all", "stirring"]


def test_the_capabilities_of_the_whole_unit_are_in_the_contracts_shape(gateway, answers, library):
    catalogue = {name: job.spec for name, job in JOBS.items()}
    app = create_app(gateway, answers, unit_name="u", version="1", catalogue=catalogue, library=library)
    assert CapabilitiesAnswer().validate(LocalClient(app).simulate_get("/unit_api/capabilities").json) == {}


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', "*"])
def test_capabilities_know_each_form_of_their_etag(client, form):
    """A proxy that packs answers makes an ETag weak."""
    etag = client.simulate_get("/unit_api/capabilities").headers["etag"]
    answer = client.simulate_get("/unit_api/capabilities", headers={"If-None-Match": form.format(etag)})
    assert (answer.status_code, answer.text) == (304, "")


def test_capabilities_are_made_once_for_each_state_of_the_catalogue(client, catalogue, gateway):
    first = client.simulate_get("/unit_api/capabilities")
    etag = first.headers["etag"]
    unchanged = client.simulate_get("/unit_api/capabilities", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.text, unchanged.headers["etag"]) == (304, "", etag)
    catalogue.add([GAS])
    changed = client.simulate_get("/unit_api/capabilities", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert "gas" in [entry["job_name"] for entry in changed.json["jobs"]]
    assert gateway.looks == [False, False, False]  # it never waits


def test_a_job_of_a_plugin_that_has_just_come_is_run(client, catalogue, gateway):
    gateway.on_look = lambda: catalogue.add([GAS])
    assert client.simulate_post("/unit_api/jobs/run/job_name/gas", json={}).status_code == 202
    assert gateway.looks == [True]
    assert gateway.submitted[0][1]["job_name"] == "gas"


def test_an_automation_of_a_plugin_that_has_just_come_is_run(client, catalogue, gateway):
    added = Report(GAS.plugin, automations=(("led_automation", Automation("blink", "")),))
    gateway.on_look = lambda: catalogue.add([added])
    body = {"options": {"automation-name": "blink"}}
    assert client.simulate_post("/unit_api/jobs/run/job_name/led_automation", json=body).status_code == 202
    assert gateway.looks == [True]


@pytest.mark.parametrize(
    ("job", "options"), [("stirring", {}), ("led_automation", {"automation_name": "silent"})], ids=["job", "automation"]
)
def test_what_is_built_in_waits_for_no_plugin(client, gateway, job, options):
    gateway.on_look = Unavailable("It takes too long.")
    assert client.simulate_post(f"/unit_api/jobs/run/job_name/{job}", json={"options": options}).status_code == 202
    assert gateway.looks == []


def test_an_unknown_job_is_unknown_after_a_look(client, gateway, refused):
    refused(client.simulate_post("/unit_api/jobs/run/job_name/no_such_job", json={}), 404)
    assert gateway.looks == [True]
    gateway.on_look = Unavailable("It takes too long.")
    refused(client.simulate_post("/unit_api/jobs/run/job_name/no_such_job", json={}), 503)


def test_plugins_are_listed_with_the_references_fields_and_their_errors(client, gateway):
    broken = Report(Plugin("plugins/bad.py", "1", path="/srv/plugins/bad.py", name="bad"), error="1 / 0")
    gateway.reports = [GAS, broken, INSTALLED]
    gas, bad, theirs = client.simulate_get("/unit_api/plugins/installed").json
    assert gas == {
        "name": "gas-demo",
        "version": "0.3",
        "description": "Unknown",
        "homepage": "http://localhost/unit_api/plugins/installed/gas.py",
        "source": "plugins/gas.py",
        "author": "Unknown",
        "error": None,
    }
    assert InstalledPlugin().validate([gas, bad, theirs], many=True) == {}
    assert bad["error"] == "1 / 0"
    assert (theirs["source"], theirs["homepage"]) == ("entry_points", "https://example.org")
    assert gateway.looks == [True]


def test_a_list_that_takes_too_long_is_answered_with_what_is_known(client, gateway, refused):
    gateway.on_look = Unavailable("It takes too long.")
    refused(client.simulate_get("/unit_api/plugins/installed"), 503)
    gateway.reports = [GAS]
    assert len(client.simulate_get("/unit_api/plugins/installed").json) == 1


def test_the_text_of_a_plugin_is_plain_text(client, folder):
    folder.plugins.mkdir()
    text = "# é\n<script>alert(1)</script>\n".encode() + b"\xff\n"
    (folder.plugins / "gas.py").write_bytes(text)
    answer = client.simulate_get("/unit_api/plugins/installed/gas.py")
    assert (answer.status_code, answer.content) == (200, text)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(text))
    assert client.simulate_head("/unit_api/plugins/installed/gas.py").text == ""


@pytest.mark.parametrize(
    "name",
    [
        "none.py", "secret.txt", "..", "../config.ini", "..%2fconfig.py", "%2e%2e%2fconfig.py", "sub%2finner.py",
        "out.py", "out_of_out.py", "folder.py", "pipe.py", "loop.py", "..%5cconfig.py", "gas.py%00", "gas.py.", ".py",
        "a" * 300 + ".py", "sub", "large.py",
    ],
)  # fmt: skip
def test_nothing_but_a_plugin_is_shown(client, folder, name, tmp_path, refused):
    import os

    folder.plugins.mkdir()
    (folder.path / "config.py").write_text("secret = 1")
    (folder.plugins / "gas.py").write_text("x = 1")
    (folder.plugins / "large.py").write_bytes(b"#" * (1024 * 1024 + 1))
    (folder.plugins / "secret.txt").write_text("secret = 1")
    (folder.plugins / "sub").mkdir()
    (folder.plugins / "sub" / "inner.py").write_text("secret = 1")
    (folder.plugins / "folder.py").mkdir()
    (folder.plugins / "out.py").symlink_to(folder.path / "config.py")
    (folder.plugins / "out_of_out.py").symlink_to("out.py")
    (folder.plugins / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder.plugins / "pipe.py")
    assert "secret" not in refused(client.simulate_get(f"/unit_api/plugins/installed/{name}"), 404).replace(name, "")


def test_a_link_to_another_plugin_is_one(client, folder):
    folder.plugins.mkdir()
    (folder.plugins / "gas.py").write_text("x = 1")
    (folder.plugins / "same.py").symlink_to("gas.py")
    assert client.simulate_get("/unit_api/plugins/installed/same.py").text == "x = 1"


def test_a_hardware_check_is_told_of_broken_plugins(gateway, app):
    gateway.reports = [Report(GAS.plugin, error="1 / 0"), INSTALLED]
    assert LocalClient(app).simulate_post("/unit_api/hardware/check", json={}).status_code == 202
    assert gateway.submitted[0][1] == {"broken_plugins": ["plugins/gas.py: 1 / 0"]}


def test_every_limit_of_a_setting_is_json(client):
    text = client.simulate_get("/unit_api/capabilities").text
    assert not re.search(r"\b(NaN|Infinity)\b", text)
    assert json.loads(text)["settings"][0]["job_name"] == "stirring"


def test_who_asks_for_an_unknown_job_is_told_of_broken_plugins(client, gateway, refused):
    gateway.reports = [Report(GAS.plugin, error="SyntaxError: invalid syntax (line 3)")]
    said = refused(client.simulate_post("/unit_api/jobs/run/job_name/gas", json={}), 404)
    assert "plugins/gas.py: SyntaxError: invalid syntax (line 3)" in said
