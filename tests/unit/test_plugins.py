"""Plugins as data: what they say of themselves, what clashes, what a catalogue has of them, when they changed."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from plugin_examples import BLINK, install, loaded_here, write_plugin

from reactor_unit.catalogue import Catalogue
from reactor_unit.errors import Unavailable
from reactor_unit.job_spec import Automation, JobSpec
from reactor_unit.plugin_watch import PluginWatch
from reactor_unit.plugins import (
    BadPlugin,
    Plugin,
    Report,
    are_skipped,
    plugin_files,
    problems,
    report_from_dict,
    state_of_plugins,
    without_clashes,
)
from reactor_unit.workers.plugin_listing import list_plugins, with_its_own_words

DOSING = JobSpec("dosing_automation", "", automations=(Automation("silent", ""),))
BUILT_IN = {"stirring": JobSpec("stirring", ""), "dosing_automation": DOSING}


def plugin(name: str) -> Plugin:
    return Plugin(f"plugins/{name}.py", "1", path=f"/plugins/{name}.py", name=name)


def report(name: str, *jobs: str, automations: tuple[tuple[str, str], ...] = ()) -> Report:
    added = tuple((job, Automation(one, "")) for job, one in automations)
    return Report(plugin(name), tuple(JobSpec(job, "") for job in jobs), added)


class TestListing:
    def test_a_file_is_listed_by_its_name_and_not_run(self, tmp_path: Path) -> None:
        write_plugin(tmp_path, "b", "import no_such_module")
        write_plugin(tmp_path, "a", "raise SystemExit")
        (tmp_path / "notes.txt").write_text("x")
        (tmp_path / ".hidden.py").write_text("x")
        assert [path.name for path in plugin_files(tmp_path)] == ["a.py", "b.py"]
        files = [one for one in list_plugins(tmp_path) if one.path]
        assert [(one.source, one.name, one.version) for one in files] == [
            ("plugins/a.py", "a", "Unknown"),
            ("plugins/b.py", "b", "Unknown"),
        ]
        assert plugin_files(tmp_path / "none") == []

    def test_what_a_file_says_of_itself_is_read_and_not_run(self, tmp_path: Path) -> None:
        path = write_plugin(tmp_path, "blink", BLINK + "\n__plugin_summary__ = 1 / 0\nraise SystemExit\n")
        read = with_its_own_words(Plugin("plugins/blink.py", "1", path=str(path), name="blink"))
        assert (read.name, read.version, read.author) == ("blink-demo", "0.3", "A. Biologist")
        assert (read.description, read.homepage) == ("Unknown", None)
        assert not loaded_here("blink")

    @pytest.mark.parametrize("text", ["def (", "x = 1\n" * 200_000], ids=["no Python", "too large"])
    def test_a_file_that_is_no_plugin_is_refused(self, tmp_path: Path, text: str) -> None:
        path = write_plugin(tmp_path, "bad", text)
        with pytest.raises((SyntaxError, ValueError)):
            with_its_own_words(Plugin("plugins/bad.py", "1", path=str(path)))

    def test_distributions_are_listed_from_their_metadata(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(tmp_path, "Gas_Mixer", "1.2", "reactor_unit.plugins", ["gas:Mixer", "gas2"], {"gas": "1 / 0"})
        install(tmp_path, "their-plugin", "0.1", "pioreactor.plugins", ["theirs"], {})
        install(tmp_path, "something-else", "0.1", "console_scripts", ["x:y"], {})
        broken = tmp_path / "broken-1.dist-info"
        broken.mkdir()
        (broken / "entry_points.txt").write_text("[reactor_unit.plugins]\nthis is no entry point\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        ours, theirs = (
            one for one in list_plugins(tmp_path / "plugins") if one.source in ("gas-mixer", "their-plugin")
        )
        assert (ours.name, ours.version, ours.targets) == ("Gas_Mixer", "1.2", ("gas2", "gas:Mixer"))
        assert (ours.description, ours.author, ours.homepage) == ("Made for a test.", None, "Unknown")
        assert (ours.runs, theirs.runs) == (True, False)
        assert not loaded_here("gas")

    def test_the_state_changes_with_files_and_with_what_is_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "site"
        site.mkdir()
        os.utime(site, (1, 1))
        monkeypatch.syspath_prepend(str(site))
        folder, states = tmp_path / "plugins", [""]
        for change in (
            lambda: None,
            lambda: write_plugin(folder, "a", "x = 1"),
            lambda: write_plugin(folder, "a", "x = 2"),
            lambda: write_plugin(folder, "b", "x = 2"),
            lambda: (folder / "b.py").unlink(),
            lambda: install(site, "gas", "1", "reactor_unit.plugins", ["gas"], {}),
        ):
            change()
            states.append(state_of_plugins(folder))
            assert states[-1] == state_of_plugins(folder) != states[-2]

    def test_plugins_may_be_skipped(self) -> None:
        assert are_skipped({"SKIP_PLUGINS": "1"})
        assert not are_skipped({"SKIP_PLUGINS": ""})
        assert not are_skipped({})


class TestReports:
    def test_a_report_comes_back_as_it_was(self) -> None:
        whole = report("a", "gas", automations=(("dosing_automation", "slow"),))
        assert report_from_dict(whole.to_dict()) == whole
        assert report_from_dict(whole.failed("x" * 1000).to_dict()).error == "x" * 500

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"plugin": asdict(plugin("a")), "jobs": [{"name": "Gas", "help": ""}]},
            {"plugin": asdict(plugin("a")), "automations": [["dosing_automation", {"name": "A b", "help": ""}]]},
            {"plugin": asdict(plugin("a")), "jobs": [{"name": "gas", "help": "", "interlocks": ["x" * 1000] * 90}]},
        ],
        ids=["nothing", "bad job", "bad automation", "large"],
    )
    def test_what_is_no_report_is_refused(self, data: dict[str, object]) -> None:
        with pytest.raises(BadPlugin):
            report_from_dict(data)

    @pytest.mark.parametrize(
        ("one", "problem"),
        [
            (report("a", "stirring"), "'stirring' is taken"),
            (report("a", "leds"), "'leds' is taken"),
            (report("a", "gas", "gas"), "'gas' is taken"),
            (report("a", automations=(("dosing_automation", "silent"),)), "'silent' of dosing_automation is taken"),
            (report("a", automations=(("stirring", "fast"),)), "no job 'stirring' that has automations"),
            (report("a", automations=(("gas", "fast"),)), "no job 'gas' that has automations"),
        ],
        ids=["built in", "reserved", "twice", "built-in automation", "job without automations", "unknown job"],
    )
    def test_names_that_are_taken_are_refused(self, one: Report, problem: str) -> None:
        (checked,) = without_clashes([one], BUILT_IN)
        assert problem in str(checked.error)
        assert (checked.jobs, checked.automations) == ((), ())
        assert problems([checked]) == [f"plugins/a.py: {checked.error}"]

    def test_of_two_plugins_with_one_name_the_first_has_it_and_the_second_is_told(self) -> None:
        pair = (("dosing_automation", "slow"),)
        one, two, three, four = without_clashes(
            [report("a", "gas"), report("b", "gas"), report("c", automations=pair), report("d", automations=pair)],
            BUILT_IN,
        )
        assert one.error is None
        assert three.error is None
        assert two.error
        assert four.error


class TestCatalogue:
    def test_it_has_what_plugins_add_until_they_are_gone(self) -> None:
        catalogue = Catalogue(BUILT_IN)
        before = catalogue.specs
        catalogue.add([report("a", "gas", automations=(("dosing_automation", "slow"),))])
        assert set(catalogue) == {"stirring", "dosing_automation", "gas"}
        assert [one.name for one in catalogue["dosing_automation"].automations] == ["silent", "slow"]
        assert catalogue.plugin_of("gas") == catalogue.plugin_of("dosing_automation", "slow") == plugin("a")
        assert catalogue.plugin_of("stirring") is catalogue.plugin_of("dosing_automation", "silent") is None
        assert catalogue.built_in == BUILT_IN
        catalogue.add([])
        assert dict(catalogue.specs) == dict(before)
        assert catalogue.plugin_of("gas") is None

    def test_what_did_not_change_stays_the_same_object(self) -> None:
        catalogue = Catalogue(BUILT_IN)
        catalogue.add([report("a", "gas")])
        specs = catalogue.specs
        catalogue.add([report("a", "gas")])
        assert catalogue.specs is specs


class TestWatch:
    def message(self, folder: Path, *reports: Report) -> dict[str, object]:
        return {"state": state_of_plugins(folder), "reports": [one.to_dict() for one in reports]}

    def test_it_asks_once_for_a_change_and_hears_what_came_of_it(self, tmp_path: Path) -> None:
        catalogue, asked = Catalogue(BUILT_IN), list[int]()
        watch = PluginWatch(catalogue)
        watch.look(lambda: asked.append(0))
        assert asked == []  # it does not watch yet
        watch.watch(tmp_path)
        for _ in range(3):
            watch.look(lambda: asked.append(1))
        assert asked == [1]
        watch.hear(self.message(tmp_path, report("a", "gas")))
        assert "gas" in catalogue
        assert [one.plugin.name for one in watch.reports] == ["a"]
        watch.look_and_wait(lambda: asked.append(2))
        assert asked == [1]  # nothing has changed
        write_plugin(tmp_path, "a", "x = 1")
        watch.look_and_wait(lambda: asked.append(3))
        assert asked == [1, 3]

    def test_few_wait_at_a_time(self, tmp_path: Path) -> None:
        watch = PluginWatch(Catalogue(BUILT_IN))
        watch.watch(tmp_path)
        refused = list[str]()

        def third() -> None:
            with pytest.raises(Unavailable) as caught:
                watch.look_and_wait(lambda: refused.append("asked"))
            refused.append(type(caught.value).__name__)

        watch.look_and_wait(lambda: watch.look_and_wait(third))
        assert refused == ["Unavailable"]
        watch.look_and_wait(lambda: refused.append("free again"))
        assert refused[-1] == "free again"


def test_the_serving_processes_do_without_the_modules_that_plugins_need() -> None:
    import subprocess

    program = (
        "import sys, reactor_unit.serve; "
        "print([name for name in ('importlib.metadata', 'zipfile', 'reactor_unit.workers.plugin_code', "
        "'reactor_unit.workers.plugin_listing') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
