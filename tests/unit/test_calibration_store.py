"""Files of calibrations: atomic, by their names, fresh after a change by hand, none hidden by a broken one."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from calibration_examples import FUSED, OD600, PUMP, replaced
from harness import killed_writer

from reactor_unit.calibrations import file_cache
from reactor_unit.calibrations.file_cache import FileCache, Reading
from reactor_unit.calibrations.library import open_library
from reactor_unit.calibrations.names import InvalidName
from reactor_unit.calibrations.protocols import PROTOCOLS, Protocol, descriptors, register
from reactor_unit.calibrations.schemas import InvalidCalibration
from reactor_unit.calibrations.store import (
    CALIBRATIONS,
    CalibrationExists,
    NoSuchCalibration,
    UnusableFile,
)
from reactor_unit.config import load_config
from reactor_unit.errors import StorageFault
from reactor_unit.home import DataFolder
from reactor_unit.zip_stream import opened, stream_zip


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


@pytest.fixture
def config(tmp_path):
    return load_config(tmp_path)


@pytest.fixture
def library(folder, config):
    return open_library(folder, config)


@pytest.fixture
def store(library):
    return library.calibrations


def named(name, text=OD600):
    return replaced(text, "od-demo", name).encode()


def everything(path):
    """Return all files below a folder with their content, databases aside."""
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return {name: content for name, content in files.items() if ".sqlite" not in name}


# Creating


def test_a_new_file_holds_the_text_as_it_was_sent(store, folder):
    text = OD600.encode() + b"# a comment stays\n"
    path = store.create("od90", text)
    assert path == folder.storage / "calibrations" / "od90" / "od-demo.yaml"
    assert path.read_bytes() == text
    assert store.active() == {}


def test_a_name_that_exists_is_a_conflict_unless_the_text_is_the_same(store):
    path = store.create("od90", named("a"))
    store.create("od90", named("a"))
    with pytest.raises(CalibrationExists, match="'a'"):
        store.create("od90", named("a") + b"# new\n")
    assert path.read_bytes() == named("a")
    store.create("od90", named("a") + b"# new\n", overwrite=True)
    assert path.read_bytes().endswith(b"# new\n")
    store.create("od45", named("a"))


@pytest.mark.parametrize("device", ["..", ".", "", "a/b", "-a", "a\x00", "x" * 251, "é"], ids=repr)
def test_a_device_that_is_no_name_touches_nothing(store, tmp_path, device):
    with pytest.raises(InvalidName):
        store.create(device, OD600.encode())
    assert everything(tmp_path) == {}
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize("name", ["'..'", "'../x'", "'.a'", "'-a'", '"a\\0"', "x" * 251, "''", "'a/b'"])
def test_a_calibration_name_that_is_none_touches_nothing(store, tmp_path, name):
    with pytest.raises(InvalidName):
        store.create("od90", named(name), overwrite=True, set_as_active=True)
    assert not (tmp_path / "storage").exists()


def test_what_is_no_calibration_touches_nothing(store, tmp_path):
    with pytest.raises(InvalidCalibration):
        store.create("od90", FUSED.encode())
    assert not (tmp_path / "storage").exists()


def test_the_longest_name_has_a_file(store):
    store.create("od90", named("x" * 250), set_as_active=True)
    assert store.find("od90", "x" * 250).name == "x" * 250


def test_a_saved_record_is_active_and_replaces_its_namesake(store):
    record = CALIBRATIONS.load(OD600.encode())
    store.create("od90", OD600.encode() + b"# old\n")
    path = store.save("od90", record)
    assert CALIBRATIONS.load(path.read_bytes()) == record
    assert store.active() == {"od90": "od-demo"}


def test_of_two_writers_of_one_name_one_is_told_of_the_other(store):
    outcomes = []
    gate = threading.Barrier(8)

    def create(number):
        gate.wait()
        try:
            store.create("od90", OD600.encode() + b"# writer %d\n" % number)
            outcomes.append("written")
        except CalibrationExists:
            outcomes.append("refused")

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["written"]
    assert len(store.usable("od90")) == 1


WRITE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from reactor_unit.calibrations.store import CALIBRATIONS, RecordStore
from reactor_unit.persistent_cache import PersistentCache
storage, text = Path(sys.argv[1]), sys.argv[2].encode()
store = RecordStore(CALIBRATIONS, storage, PersistentCache(storage / "cache.sqlite"))
for number in itertools.count():
    store.create("od90", text + b"# writer %d\\n" % number * 2000, overwrite=True, set_as_active=True)
    print(number, flush=True)
"""


def killed_writers(folder, trials):
    for trial in range(trials):
        acknowledged = killed_writer(WRITE_FOR_EVER, folder, OD600, after_lines=1 + trial % 5)
        lines = (
            (folder / "calibrations" / "od90" / "od-demo.yaml").read_bytes().removeprefix(OD600.encode()).splitlines()
        )
        assert len(lines) == 2000
        assert len(set(lines)) == 1  # old or new, never some of each
        assert int(lines[0].split()[-1]) in (acknowledged, acknowledged + 1)


def test_twenty_killed_writers_leave_an_old_file_or_a_new_one(tmp_path):
    killed_writers(tmp_path, 20)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_hundred_killed_writers_leave_an_old_file_or_a_new_one(tmp_path):
    killed_writers(tmp_path, 200)


def test_a_full_disk_is_said_and_the_old_file_stays(store, monkeypatch):
    path = store.create("od90", named("a"))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFault, match="No space left"):
        store.create("od90", named("a") + b"# new\n", overwrite=True)
    assert path.read_bytes() == named("a")
    assert [file.name for file in path.parent.iterdir()] == ["a.yaml"]


# Reading


def test_files_are_listed_by_name_and_devices_too(store):
    for device, name in (("od90", "b"), ("od90", "a"), ("od45", "c")):
        store.create(device, named(name))
    assert store.devices() == ["od45", "od90"]
    assert [found.name for found in store.usable("od90")] == ["a", "b"]
    assert store.usable("media_pump") == []
    assert store.has_device("od45")
    assert not store.has_device("media_pump")


def test_what_is_no_file_of_a_calibration_is_not_listed(store, folder):
    path = store.create("od90", OD600.encode())
    (path.parent / ".hidden.yaml").write_text(OD600)
    (path.parent / "notes.txt").write_text("x")
    (path.parent / "gone.yaml").symlink_to("nowhere")
    (folder.storage / "calibrations" / "stray.yaml").write_text(OD600)
    (folder.storage / "calibrations" / ".git").mkdir()
    assert store.devices() == ["od90"]
    assert [found.name for found in store.usable("od90")] == ["od-demo"]


def test_a_broken_file_hides_no_other_and_is_logged_once(store, caplog):
    good = store.create("od90", named("b"))
    for name in ("a.yaml", "c.yaml"):
        (good.parent / name).write_text("calibration_type: od\n")
        os.utime(good.parent / name, (1, 1))
    (good.parent / "d.yaml").mkdir()
    os.mkfifo(good.parent / "e.yaml")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert [found.name for found in store.usable("od90")] == ["b"]
    assert [found.name for found in store.broken()] == ["a", "c", "d", "e"]
    assert "calibration_name is required" in store.broken()[0].problem
    assert len(caplog.records) == 4
    assert str(good.parent / "a.yaml") in caplog.text
    with pytest.raises(UnusableFile) as caught:
        store.find("od90", "a")
    assert "calibration_name is required" in caught.value.cause


def test_a_broken_file_that_is_mended_is_seen(store):
    path = store.create("od90", named("a"))
    path.write_text("x")
    assert store.usable("od90") == []
    path.write_bytes(named("a"))
    assert len(store.usable("od90")) == 1


@pytest.mark.parametrize("age_s", [0, 1000], ids=["young", "old"])
def test_a_change_by_hand_is_seen_even_if_time_and_size_are_the_same(store, age_s):
    path = store.create("od90", named("a"))
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - age_s * 10**9))
    stamp = path.stat()
    assert b'"unit7"' in store.usable("od90")[0].json
    if age_s:  # replaced, as editors do: another inode
        other = path.with_name("other")
        other.write_bytes(named("a").replace(b"unit7", b"unit8"))
        os.replace(other, path)
    else:  # in place, within one tick of the clock
        path.write_bytes(named("a").replace(b"unit7", b"unit8"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert b'"unit8"' in store.usable("od90")[0].json


def test_an_unchanged_file_is_read_once(tmp_path):
    read = []
    cache = FileCache(lambda path: read.append(path) or Reading(b"{}"))
    (tmp_path / "a").write_text("x")
    os.utime(tmp_path / "a", (1, 1))
    for _ in range(3):
        cache.reading(str(tmp_path), "a", os.stat(tmp_path / "a"))
    assert len(read) == 1


def test_what_is_kept_in_memory_is_bounded_and_what_is_gone_makes_room(tmp_path):
    read = []
    cache = FileCache(
        lambda path: read.append(path.name) or Reading(b"x" * 1000), max_bytes=2 * (1000 + file_cache._ENTRY_BYTES)
    )
    for name in "abc":
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (1, 1))

    def ask(names):
        read.clear()
        for name in names:
            cache.reading(str(tmp_path), name, os.stat(tmp_path / name))
        return read[:]

    assert ask("abc") == ["a", "b", "c"]
    assert ask("abc") == ["c"]
    cache.forget_others(str(tmp_path), ["b", "c"][:1])
    assert ask("bc") == ["c"]
    assert ask("bc") == []


def test_what_jobs_take_is_what_is_active_of_their_devices(library):
    library.calibrations.create("od90", OD600.encode(), set_as_active=True)
    library.calibrations.create("od45", named("other"))
    library.calibrations.create("media_pump", PUMP.encode(), set_as_active=True)
    library.estimators.create("od_fused", FUSED.encode(), set_as_active=True)
    taken = library.in_use(("od90", "od45", "stirring"), ("od_fused",))
    assert {device: one.get("calibration_name") for device, one in taken.items()} == {
        "od90": "od-demo",
        "od_fused": None,
    }
    assert taken["od_fused"]["recorded_data"] == {}
    assert taken["od90"]["recorded_data"]["x"] == [1.0, 0.4, 0.0]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "broken"])
def test_an_active_file_that_cannot_be_used_is_an_error_with_its_path(store, spoil):
    path = store.create("od90", OD600.encode(), set_as_active=True)
    spoil(path)
    assert store.in_use(("od45",)) == {}
    with pytest.raises(UnusableFile, match="'od-demo' of od90") as caught:
        store.in_use(("od90",))
    assert str(path) in caught.value.cause
    assert "make another calibration of od90 active, or none" in caught.value.remediation


def test_a_file_that_is_no_longer_there_is_not_found(store):
    with pytest.raises(NoSuchCalibration, match="od90"):
        store.find("od90", "a")
    path = store.create("od90", named("a"))
    store.find("od90", "a")
    path.unlink()
    with pytest.raises(NoSuchCalibration):
        store.find("od90", "a")


@pytest.mark.parametrize("call", ["find", "delete", "activate"])
@pytest.mark.parametrize(("device", "name"), [("..", "a"), ("od90", ".."), ("od90", "../a"), (".", "a"), ("od90", "")])
def test_a_path_in_a_name_is_refused(store, tmp_path, call, device, name):
    (tmp_path / "a.yaml").write_text(OD600)
    (tmp_path / "storage" / "calibrations" / "od90").mkdir(parents=True)
    before = everything(tmp_path)
    with pytest.raises(InvalidName):
        getattr(store, call)(device, name)
    assert everything(tmp_path) == before
    assert store.active() == {}


# Active names


def test_the_active_one_is_kept_until_another_one_or_none_is(library, folder, config):
    store = library.calibrations
    store.create("od90", named("a"), set_as_active=True)
    store.create("od90", named("b"))
    assert open_library(folder, config).calibrations.active() == {"od90": "a"}
    store.activate("od90", "b")
    store.create("od90", named("c"))
    assert [found.name for found in store.active_files()] == ["b"]
    store.deactivate("od90")
    store.deactivate("od90")
    assert store.active() == {}


def test_only_a_usable_file_can_be_made_active(store):
    with pytest.raises(NoSuchCalibration):
        store.activate("od90", "a")
    path = store.create("od90", named("a"))
    path.write_text("x")
    with pytest.raises(UnusableFile):
        store.activate("od90", "a")
    assert store.active() == {}


def test_deleting_the_active_one_leaves_none_active(store):
    for name in "ab":
        store.create("od90", named(name))
    store.activate("od90", "a")
    store.delete("od90", "b")
    assert store.active() == {"od90": "a"}
    store.delete("od90", "a")
    assert store.active() == {}
    with pytest.raises(NoSuchCalibration):
        store.delete("od90", "a")


def test_a_broken_file_can_be_deleted(store):
    path = store.create("od90", named("a"))
    path.write_text("x")
    store.delete("od90", "a")
    assert not path.exists()


def test_an_active_name_without_a_usable_file_is_left_out_and_logged_once(store, library, caplog):
    store.create("od45", named("a"), set_as_active=True)
    store.create("od90", named("b"), set_as_active=True).unlink()
    store.create("od135", named("c"), set_as_active=True).write_text("x")
    store._active_names.put("active_calibrations", "../evil", "../x")
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert [found.device for found in store.active_files()] == ["od45"]
    assert len([record for record in caplog.records if record.message.startswith("The active")]) == 3


def test_estimators_are_apart_from_calibrations(library):
    library.estimators.create("od_fused", FUSED.encode(), set_as_active=True)
    assert library.estimators.active() == {"od_fused": "fused-demo"}
    assert library.calibrations.active() == {}
    assert library.calibrations.devices() == []


def test_leftovers_of_killed_writers_are_removed_at_the_start(store, folder):
    path = store.create("od90", OD600.encode())
    leftover = path.parent / ".od-demo.yaml.0123456789ab.reactor-unit-tmp"
    leftover.write_text("half")
    folder.remove_leftovers()
    assert not leftover.exists()
    assert path.exists()


# Protocols


def configured(tmp_path, channels):
    tmp_path.joinpath("config.ini").write_text("[od_config.photodiode_channel]\n" + channels)
    return load_config(tmp_path)


def pairs(config):
    return [(one["target_device"], one["protocol_name"]) for one in descriptors(config)]


FIXED = [
    ("alt_media_pump", "duration_based"),
    ("media_pump", "duration_based"),
    ("od_fused", "od_fusion_standards"),
    ("od_fused", "od_fusion_offset"),
    ("stirring", "dc_based"),
    ("waste_pump", "duration_based"),
]


@pytest.mark.parametrize(
    ("channels", "devices"),
    [
        ("1=REF\n2=\n3=\n4=\n", []),
        ("1=REF\n2=90\n3=\n4=\n", ["od90"]),
        ("1=REF\n2=45\n3=90\n4=135\n", ["od", "od135", "od45", "od90"]),
        ("1=REF\n2=180\n3=90\n4=90\n", ["od90"]),
    ],
    ids=["none", "one", "three", "twice the same"],
)
def test_the_protocols_fit_the_configured_photodiodes(tmp_path, channels, devices):
    expected = sorted([*FIXED, *((device, "standards") for device in devices)], key=lambda pair: pair[0])
    assert pairs(configured(tmp_path, channels)) == expected


def test_a_protocols_texts_name_its_device(config):
    (pump,) = [one for one in descriptors(config) if one["target_device"] == "alt_media_pump"]
    assert pump["id"] == "alt_media_pump_duration_based"
    assert pump["priority"] == 99
    assert "alt media pump" in pump["description"]
    assert "{device}" not in str(descriptors(config))
    assert isinstance(pump["requirements"], list)


def test_a_protocol_can_be_added_once(monkeypatch, config):
    monkeypatch.setattr("reactor_unit.calibrations.protocols.PROTOCOLS", dict(PROTOCOLS))
    mine = register(Protocol("mine", lambda config: ["heater"], "T", "D"))
    register(mine)
    assert ("heater", "mine") in pairs(config)
    with pytest.raises(ValueError, match="mine"):
        register(Protocol("mine", lambda config: [], "T", "D"))


def test_what_somebody_left_in_the_folders_hides_nothing(store):
    store.create("od", named("a"))
    folder = store.folder
    (folder / "od" / "loop.yaml").symlink_to(folder / "od" / "loop.yaml")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "-odd").mkdir()
    os.mkdir(os.fsencode(folder) + b"/\xff")
    with open(os.fsencode(folder / "od") + b"/\xff.yaml", "wb") as file:
        file.write(named("b"))
    assert store.devices() == ["od"]
    assert next(found.name for found in store.usable("od")) == "a"
    assert b"od/a.yaml" in b"".join(stream_zip(opened(store.files())))
