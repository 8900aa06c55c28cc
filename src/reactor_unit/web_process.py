"""The web process of a unit."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from reactor_unit import __version__
from reactor_unit.app import UnitApp, create_app
from reactor_unit.calibrations.library import open_library
from reactor_unit.catalogue import Catalogue
from reactor_unit.channel import Channel
from reactor_unit.config import Config
from reactor_unit.drivers.models import load_models
from reactor_unit.errors import Conflict, StorageFault
from reactor_unit.gateway import Gateway
from reactor_unit.home import DataFolder
from reactor_unit.job_history import JobHistory
from reactor_unit.plugin_watch import PluginWatch
from reactor_unit.reading_store import ReadingStore
from reactor_unit.resources.access import Access, AccessMiddleware
from reactor_unit.resources.imports import PATH as IMPORT_PATH
from reactor_unit.resources.imports import ImportGate
from reactor_unit.served_files import ServedFiles
from reactor_unit.task_store import TaskStore
from reactor_unit.token_file import TokenFile
from reactor_unit.unit import Unit
from reactor_unit.uploads import Uploads
from reactor_unit.vial import open_vial
from reactor_unit.web_server import make_server

log = logging.getLogger(__name__)

END_GRACE_S = 1.5


class WebProcess:
    """What answers HTTP: put together and warmed up before the fork, opened after it.

    So one that takes another one's place needs nothing from the disk that somebody may be changing, and several units
    share most of it. `plugins` is their folder, None for a unit without; `extend` may add routes.
    """

    def __init__(
        self,
        unit: Unit,
        config: Config,
        catalogue: Catalogue,
        plugins: Path | None,
        extend: Callable[[UnitApp, Gateway], None] | None,
        max_upload_bytes: int,
        *,
        keeps_history: bool,
    ) -> None:
        self._unit = unit
        model = unit.model
        self._keeps_history = keeps_history
        self._plugins = plugins
        self._watch = PluginWatch(catalogue)
        self._gateway = Gateway(plugins=self._watch)
        self._library = open_library(unit.folder, config)
        access = _access(unit, config)
        gate = ImportGate(AccessMiddleware(access), self._gateway, ServedFiles(unit.folder.path))
        self._uploads = Uploads(IMPORT_PATH, unit.folder.imports, max_upload_bytes, gate)
        self._app = create_app(
            self._gateway,
            self._gateway,
            unit_name=unit.name,
            version=f"v{__version__}",
            catalogue=catalogue,
            library=self._library,
            data_folder=unit.folder.path,
            plugins=unit.folder.plugins,
            models=load_models(unit.folder.path / "models").keys(),
            model_name="" if model is None else model.model_name,
            vial=open_vial(unit.folder.storage, config, None if model is None else model.reactor_max_fill_volume_ml),
            is_leader=config.leader_hostname(unit.name) == unit.name,
            access=access,
            counts=self._gateway.counts,
            extend=None if extend is None else lambda app: extend(app, self._gateway),
        )

    def warm_up(self) -> None:
        """Run what every request runs, so that the memory it takes is shared by all processes."""
        for path in ("/unit_api/health", "/unit_api/capabilities", "/unit_api/jobs/running", "/unit_api/no_such_thing"):
            environ = {
                "REQUEST_METHOD": "GET",
                "SCRIPT_NAME": "",
                "PATH_INFO": path,
                "QUERY_STRING": "",
                "SERVER_NAME": "localhost",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(),
                "wsgi.errors": sys.stderr,
            }
            list(self._app(environ, lambda _status, _headers, _exc_info=None: lambda _data: None))
        with tempfile.TemporaryDirectory(dir=self._unit.run_directory) as scratch:
            TaskStore(Path(scratch)).close()

    def main(self, channel: Channel, listener: socket.socket) -> None:
        """Serve until SIGTERM."""
        store = TaskStore(self._unit.run_directory / "tasks")
        history = JobHistory(self._unit.folder.job_history, at_once=False) if self._keeps_history else None
        readings, cache = _open_readings(self._unit), self._library.cache
        if self._plugins is not None:
            self._watch.watch(self._plugins)
        self._gateway.start(channel, store, history, readings, cache, self._unit.folder.faults)
        server = make_server(self._app, listener, on_stop=self._gateway.let_holders_go, uploads=self._uploads)

        def retire() -> None:
            server.retire()
            self._gateway.retire()

        # In a thread of its own: the one that hears this has to go on hearing the supervisor's answers.
        self._gateway.on_retire = lambda: threading.Thread(target=retire, name="retire", daemon=True).start()

        def end(_number: int, _frame: object) -> None:
            signal.setitimer(signal.ITIMER_REAL, END_GRACE_S)
            server.stop()

        signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(0))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        self._gateway.say_serving()
        server.run()
        self._gateway.close()
        os._exit(0)


def _access(unit: Unit, config: Config) -> Access:
    return Access.of(
        unit.name,
        socket.gethostname(),
        allowed_hosts=config.get("http", "allowed_hosts", ""),
        leader_address=config.get("cluster.topology", "leader_address", ""),
        token=_token_file(unit.folder),
    )


def _token_file(folder: DataFolder) -> TokenFile | None:
    """Return where the administrator's token is; one that lies in the data folder is not used."""
    token = TokenFile.find(os.environ)
    try:
        token.check_outside(folder.path)
    except Conflict as ex:
        log.error("No token is taken: %s", ex.message)
        return None
    return token


def _open_readings(unit: Unit) -> ReadingStore | None:
    try:
        return ReadingStore(unit.folder.readings, keep_days=unit.keep_days, max_mb=unit.max_mb)
    except StorageFault as ex:
        log.error("Readings are kept in memory only, the newest of them: %s", ex)
        return None
