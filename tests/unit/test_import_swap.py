"""The exchange of a data folder's content, ended at every step that it has."""

import json
import os

import pytest
from archives import digest

from reactor_unit import import_swap
from reactor_unit.errors import ConfigError, StorageFault
from reactor_unit.home import DataFolder
from reactor_unit.import_swap import JOURNAL, KEPT_BACKUPS, NEW

RECORD = {"task_id": "t1", "name": "import_archive", "status": "in_progress", "accepted_at": "x", "accepted_stamp": 1.0}
RESULT = {"entries": 3, "bytes": 9}


class PowerCut(BaseException):
    """The machine is off."""


@pytest.fixture
def folder(tmp_path):
    """A data folder in use, and what is to come in beside it."""
    home = DataFolder(tmp_path / "dot")
    home.create()
    (home.plugins / "old.py").write_text("old")
    (home.path / "config.ini").write_text("# old")
    (home.path / "notes.txt").write_text("old notes")
    (home.path / "ui").mkdir()
    (home.path / "ui" / "chart.yaml").write_text("chart")
    home.faults.write_text('{"faults": "of this reactor"}')
    (home.log_file).write_text("log")
    unpacked(home)
    return home


def unpacked(home):
    new = home.imports / NEW
    (new / "plugins").mkdir(parents=True)
    (new / "storage").mkdir()
    (new / "config.ini").write_text("# new")
    (new / "plugins" / "new.py").write_text("new")
    (new / "storage" / "faults.json").write_text('{"faults": "of another time"}')
    (new / "experiments").mkdir()


def fine():
    return None


def test_nothing_happens_without_an_import(tmp_path):
    home = DataFolder(tmp_path / "dot")
    home.create()
    before = digest(home.path)
    assert import_swap.finish(home, fine) is None
    assert digest(home.path) == before


def test_the_new_content_comes_in_and_the_old_one_is_kept(folder):
    import_swap.begin(folder, RECORD, RESULT)
    checked = []
    record = import_swap.finish(folder, lambda: checked.append((folder.path / "config.ini").read_text()))
    assert checked == ["# new"]
    assert record["status"] == "complete"
    assert record["task_id"] == "t1"
    backup = folder.path / record["result"]["backup"]
    assert (folder.plugins / "new.py").exists()
    assert not (folder.plugins / "old.py").exists()
    assert not (folder.path / "notes.txt").exists()
    assert (backup / "plugins" / "old.py").read_text() == "old"
    assert (backup / "notes.txt").read_text() == "old notes"
    assert os.listdir(folder.imports) == [JOURNAL]


def test_what_is_the_units_own_stays(folder):
    for name in ("DISALLOW_UI_INSTALLS", "api_token.txt"):
        (folder.path / name).write_text("")
    import_swap.begin(folder, RECORD, RESULT)
    import_swap.finish(folder, fine)
    assert folder.log_file.read_text() == "log"
    assert (folder.path / "ui" / "chart.yaml").exists()
    assert (folder.path / "DISALLOW_UI_INSTALLS").exists()
    assert (folder.path / "api_token.txt").exists()
    assert folder.faults.read_text() == '{"faults": "of this reactor"}'


def test_a_fault_of_another_time_does_not_come_in(folder):
    folder.faults.unlink()
    import_swap.begin(folder, RECORD, RESULT)
    import_swap.finish(folder, fine)
    assert not folder.faults.exists()


def test_a_folder_that_the_unit_cannot_start_with_is_put_back(folder):
    before = digest(folder.path)
    import_swap.begin(folder, RECORD, RESULT)

    def refuse():
        raise ConfigError("line 3 is broken", remediation="Correct it.")

    record = import_swap.finish(folder, refuse)
    assert record["status"] == "failed"
    assert record["error"]["message"] == "line 3 is broken"
    assert digest(folder.path) == before
    assert not folder.backups.exists() or not os.listdir(folder.backups)


def test_the_outcome_is_told_again_to_the_next_start_but_not_for_ever(folder):
    import_swap.begin(folder, RECORD, RESULT)
    first = import_swap.finish(folder, fine)
    assert import_swap.finish(folder, fine) == first
    journal = folder.imports / JOURNAL
    journal.write_text(json.dumps({**json.loads(journal.read_text()), "ended_at": 1e9}))
    assert import_swap.finish(folder, fine) is None


def test_leftovers_of_an_import_that_was_not_ready_go(folder):
    (folder.imports / "upload-1").write_text("x")
    before = digest(folder.path)
    assert import_swap.finish(folder, fine) is None
    assert os.listdir(folder.imports) == []
    assert digest(folder.path) == before


def test_only_the_newest_backups_are_kept(folder):
    for _ in range(KEPT_BACKUPS + 2):
        import_swap.begin(folder, RECORD, RESULT)
        last = import_swap.finish(folder, fine)["result"]["backup"]
        unpacked(folder)
    kept = sorted(os.listdir(folder.backups))
    assert len(kept) == KEPT_BACKUPS
    assert last.endswith(kept[-1])


def test_a_journal_that_cannot_be_read_stops_the_start_and_touches_nothing(folder):
    (folder.imports / JOURNAL).write_text("{")
    before = digest(folder.path)
    with pytest.raises(StorageFault, match="cannot be read"):
        import_swap.finish(folder, fine)
    assert digest(folder.path) == before
    assert (folder.imports / NEW).is_dir()


CALLS = ("rename", "replace", "mkdir", "rmdir", "unlink", "fsync")


class Cuts:
    """Cuts the power before the `at`th call that changes the disk."""

    def __init__(self, monkeypatch, at):
        self._left = at
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real):
        def call(*args, **kwargs):
            if self._left == 0:
                raise PowerCut
            self._left -= 1
            return real(*args, **kwargs)

        return call


def outcome(folder, monkeypatch, at, check):
    """Cut the power at a step; return whether it came to that."""
    with monkeypatch.context() as patch:
        Cuts(patch, at)
        try:
            import_swap.finish(folder, check)
        except PowerCut:
            return True
    return False


@pytest.mark.parametrize("accepts", [True, False], ids=["taken", "put back"])
@pytest.mark.parametrize("again_after", [None, 3], ids=["one cut", "two cuts"])
def test_whenever_the_power_goes_the_next_start_finds_all_of_one(folder, tmp_path, monkeypatch, accepts, again_after):
    import shutil

    def check():
        if not accepts:
            raise ConfigError("no")

    old = digest(folder.path)
    import_swap.begin(folder, RECORD, RESULT)
    whole = tmp_path / "whole"
    shutil.copytree(folder.path, whole)
    import_swap.finish(folder, check)
    expected = digest(folder.path)
    assert (expected == old) is not accepts
    for at in range(200):
        shutil.rmtree(folder.path)
        shutil.copytree(whole, folder.path)
        was_cut = outcome(folder, monkeypatch, at, check)
        if was_cut and again_after is not None:
            outcome(folder, monkeypatch, again_after, check)
        record = import_swap.finish(folder, check)
        assert digest(folder.path) == expected, f"cut at step {at}"
        assert record["status"] == ("complete" if accepts else "failed")
        if not was_cut:
            break
    assert at > 15


def test_a_disk_that_refuses_a_step_brings_the_old_folder_back(folder, monkeypatch):
    before = digest(folder.path)
    import_swap.begin(folder, RECORD, RESULT)
    rename = os.rename

    def refuse(source, target):
        if str(source).endswith(f"{NEW}/plugins"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    record = import_swap.finish(folder, fine)
    assert record["status"] == "failed"
    assert "No space left" in record["error"]["message"]
    assert digest(folder.path) == before


@pytest.mark.parametrize("noted", [0, 1, 2], ids=["nothing", "what moves", "that it moved"])
def test_a_disk_too_full_to_note_a_phase_keeps_no_unit_from_starting(folder, monkeypatch, noted):
    before = digest(folder.path)
    import_swap.begin(folder, RECORD, RESULT)
    write, left = import_swap.write_atomically, [noted]

    def refuse(path, data):
        if path.name == JOURNAL:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(import_swap, "write_atomically", refuse)
    record = import_swap.finish(folder, fine)
    assert record["status"] == ("complete" if noted else "failed")
    after = digest(folder.path)
    assert (after == before) is (noted == 0)
    assert import_swap.finish(folder, fine) is None
    assert digest(folder.path) == after
