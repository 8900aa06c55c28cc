import pytest

from reactor_unit.app import create_app
from reactor_unit.calibrations.library import open_library
from reactor_unit.config import load_config
from reactor_unit.home import DataFolder
from reactor_unit.resources.response_schemas import ErrorAnswer

from .fakes import CATALOGUE, FakeAnswers, FakeGateway, LocalClient


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def answers():
    return FakeAnswers()


@pytest.fixture
def folder(tmp_path):
    """The unit's data folder."""
    (tmp_path / "dot").mkdir()
    return DataFolder(tmp_path / "dot")


@pytest.fixture
def library(folder):
    return open_library(folder, load_config(folder.path))


@pytest.fixture
def app(gateway, answers, library, folder):
    return create_app(
        gateway,
        answers,
        unit_name="pio01",
        version="0.1.0",
        catalogue=CATALOGUE,
        library=library,
        data_folder=folder.path,
        plugins=folder.plugins,
    )


@pytest.fixture
def client(app):
    return LocalClient(app)


@pytest.fixture
def refused():
    """Return a check that an answer is an error in the contract's shape; it returns the error's texts."""

    def check(response, status):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        body = response.json
        assert ErrorAnswer().validate(body) == {}
        assert body["error_info"]["status"] == status
        assert "Traceback" not in response.text
        return " ".join([body["error"], body["error_info"]["cause"], body["error_info"]["remediation"]])

    return check
