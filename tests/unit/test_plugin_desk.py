"""How plugins are looked at: each in a child of its own, and what comes of those that are broken."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_examples import BLINK, BROKEN, GENTLE, HANGS, install, loaded_here, write_plugin

from reactor_unit.catalogue import Catalogue
from reactor_unit.plugins import Report
from reactor_unit.workers.children import Nursery
from reactor_unit.workers.jobs import JOBS
from reactor_unit.workers.loop import Loop
from reactor_unit.workers.plugin_desk import PluginDesk

BUILT_IN = {name: JOBS[name].spec for name in ("stirring", "dosing_automation")}
GIVE_UP_S = 60.0


class Desk:
    """A desk with a loop and a folder of its own."""

    def __init__(self, folder: Path, probe_within_s: float = 10.0) -> None:
        self.loop, self.folder = Loop(), folder
        self.nursery = Nursery(self.loop)
        self.catalogue = Catalogue(BUILT_IN)
        self.changes = 0
        self.desk = PluginDesk(
            self.loop, self.nursery, self.catalogue, folder, self._changed, probe_within_s=probe_within_s
        )

    def _changed(self) -> None:
        self.changes += 1

    def look(self, times: int = 1) -> dict[str, Report]:
        """Look as often at the same time, and return the reports on files by their names."""
        over, deadline = list[bool](), time.monotonic() + GIVE_UP_S
        for _ in range(times):
            self.desk.look(lambda: over.append(True))
        self.loop.call_later(GIVE_UP_S, lambda: None)
        while len(over) < times:
            assert time.monotonic() < deadline
            self.loop.turn()
        return {Path(one.plugin.path).stem: one for one in self.desk.reports if one.plugin.path}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "plugins")
    yield desk
    assert not desk.nursery.children


def test_a_good_plugin_is_in_the_catalogue_and_not_in_this_process(desk: Desk) -> None:
    write_plugin(desk.folder, "blink", BLINK)
    found = desk.look()["blink"]
    assert (found.plugin.name, found.plugin.version, found.error) == ("blink-demo", "0.3", None)
    assert desk.catalogue["blink"].settings[0].name == "count"
    assert desk.desk.message()["reports"][0]["plugin"]["name"] == "blink-demo"
    assert not loaded_here("blink")
    assert not (desk.folder / "__pycache__").exists()


def test_broken_plugins_are_told_and_harm_no_other(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for name, (text, _) in BROKEN.items():
        write_plugin(desk.folder, name, text)
    write_plugin(desk.folder, "zz_good", BLINK)
    (desk.folder / "a_folder.py").mkdir()
    (desk.folder / "to_nothing.py").symlink_to("nowhere.py")
    with caplog.at_level(logging.ERROR):
        found = desk.look()
    assert set(found) == {*BROKEN, "zz_good", "a_folder"}
    for name, (_, said) in BROKEN.items():
        assert said in str(found[name].error), name
        assert f"plugins/{name}.py: " in caplog.text
    assert found["a_folder"].error
    assert found["zz_good"].error is None
    assert set(desk.catalogue) == {*BUILT_IN, "blink"}


def test_a_file_whose_name_is_no_text_is_no_plugin_and_harms_no_other(desk: Desk) -> None:
    write_plugin(desk.folder, "good", BLINK)
    with open(os.fsencode(desk.folder) + b"/bad\xff.py", "w", encoding="utf-8") as file:
        file.write(BLINK)
    assert set(desk.look()) == {"good"}


def test_one_that_hangs_is_given_up_and_holds_up_no_other(tmp_path: Path) -> None:
    hasty = Desk(tmp_path / "plugins", probe_within_s=4.0)
    write_plugin(hasty.folder, "a_hangs", HANGS)
    write_plugin(hasty.folder, "b_hangs", "import time\ntime.sleep(1000)")
    write_plugin(hasty.folder, "good", BLINK)
    found = hasty.look()
    assert "took longer than 4 s" in str(found["a_hangs"].error)
    assert found["b_hangs"].error
    assert found["good"].error is None
    assert not hasty.nursery.children


def test_an_automation_joins_those_that_there_are(desk: Desk) -> None:
    write_plugin(desk.folder, "gentle", GENTLE)
    assert desk.look()["gentle"].error is None
    names = [automation.name for automation in desk.catalogue["dosing_automation"].automations]
    assert names == [*(one.name for one in BUILT_IN["dosing_automation"].automations), "gentle"]
    assert not loaded_here("gentle")


def test_only_what_changed_is_imported_again(desk: Desk, tmp_path: Path) -> None:
    count = f"\nwith open({str(tmp_path / 'imports')!r}, 'a') as file:\n    file.write('x')\n"
    write_plugin(desk.folder, "blink", BLINK + count)
    write_plugin(desk.folder, "raises", "1 / 0")
    assert desk.look()["raises"].error
    write_plugin(desk.folder, "raises", BLINK.replace('"blink', '"wink'))
    assert desk.look()["raises"].error is None
    assert set(desk.catalogue) == {*BUILT_IN, "blink", "wink"}
    assert (tmp_path / "imports").read_text() == "x"
    (desk.folder / "blink.py").unlink()
    desk.look()
    assert set(desk.catalogue) == {*BUILT_IN, "wink"}


def test_who_asks_while_it_looks_waits_for_a_look_of_their_own(desk: Desk) -> None:
    write_plugin(desk.folder, "blink", BLINK)
    desk.look(times=4)
    assert desk.changes == 2  # one for who asked first, one for all the others


def test_what_is_installed_is_looked_at_as_well(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    module = BLINK.replace('"blink', '"wink') + "\nWORDS = 1\n"
    install(site, "wink", "1.0", "reactor_unit.plugins", ["wink_plugin:Blink"], {"wink_plugin": module})
    install(site, "no-class", "1.0", "reactor_unit.plugins", ["wink_plugin:WORDS"], {})
    install(site, "their-plugin", "0.1", "pioreactor.plugins", ["theirs"], {"theirs": "1 / 0"})
    monkeypatch.syspath_prepend(str(site))
    desk.look()
    by_source = {one.plugin.source: one for one in desk.desk.reports}
    assert by_source["wink"].error is None
    assert "wink" in desk.catalogue
    assert "neither a module nor a class" in str(by_source["no-class"].error)
    assert by_source["their-plugin"].error is None
    assert not loaded_here("wink_plugin")


def test_at_the_end_of_the_unit_nothing_of_a_plugin_runs_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "plugins")
    write_plugin(desk.folder, "hangs", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANGS)
    desk.desk.look(lambda: None)
    while not any(child.name == "plugin" for child in desk.nursery.children):
        desk.loop.turn()
    desk.desk.stop()
    while desk.nursery.children:
        desk.loop.turn()
    desk.look()  # answered, and nothing is begun any more
    assert not desk.nursery.children


def test_a_unit_without_plugins_looks_at_none(tmp_path: Path) -> None:
    loop, over = Loop(), list[bool]()
    PluginDesk(loop, Nursery(loop), Catalogue({}), None, lambda: over.append(False)).look(lambda: over.append(True))
    assert over == [True]
