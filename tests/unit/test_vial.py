"""The account of the vial: whatever happens in whichever order, it never holds less than there is."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactor_unit.config import default_config
from reactor_unit.errors import ConfigError, Conflict, InvalidRequest
from reactor_unit.vial import ALT_MEDIA, MEDIA, WASTE, Vial, VialFull, VialState, VialUnknown, new_state

MAXIMUM_ML, TUBE_ML = 18.0, 14.0
NEW = VialState(TUBE_ML, 0.0, TUBE_ML)
volumes = st.floats(0.0, 5.0, allow_nan=False).map(lambda ml: round(ml, 3))


def a_vial(folder, maximum_ml=MAXIMUM_ML):
    return Vial(folder / "vial.account", NEW, maximum_ml)


@pytest.fixture
def vial(tmp_path):
    made = a_vial(tmp_path)
    yield made
    made.close()


class World:
    """What really is in the vial, and processes that pump; a process is an opening of the account."""

    def __init__(self, folder):
        self.folder = folder
        self.truth_ml = TUBE_ML
        self.processes = {}  # name -> (account, run, moved so far, the most that it will move)
        self.look = a_vial(folder)

    def begin(self, name, role, at_most_ml):
        if name in self.processes:
            return
        account = a_vial(self.folder)
        try:
            run = account.begin(role, at_most_ml)
        except VialFull:
            account.close()
            return
        self.processes[name] = [account, run, 0.0]

    def pump(self, name, share):
        """Let a running pump move a share of what it may still move."""
        if name in self.processes:
            process = self.processes[name]
            ml = share * (process[1].at_most_ml - process[2])
            process[2] += ml
            if process[1].role == WASTE:
                self.truth_ml -= max(0.0, min(ml, self.truth_ml - TUBE_ML))
            else:
                self.truth_ml += ml

    def end(self, name):
        if name in self.processes:
            account, run, moved_ml = self.processes.pop(name)
            account.end(run, moved_ml)
            account.close()

    def kill(self, name):
        if name in self.processes:
            self.processes.pop(name)[0].close()  # the kernel drops its locks; nobody corrects the account

    def close(self):
        for name in list(self.processes):
            self.kill(name)
        self.look.close()


names = st.sampled_from(["a", "b", "c"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), names, st.sampled_from([MEDIA, ALT_MEDIA, WASTE]), volumes),
        st.tuples(st.just("pump"), names, st.floats(0, 1)),
        st.tuples(st.just("end"), names),
        st.tuples(st.just("kill"), names),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_account_is_never_below_the_truth_and_the_truth_never_at_the_maximum(tmp_path_factory, events):
    world = World(tmp_path_factory.mktemp("vial"))
    try:
        for what, *args in events:
            getattr(world, what)(*args)
            assert world.look.look().volume_ml >= world.truth_ml - 1e-4
            assert world.truth_ml < MAXIMUM_ML
    finally:
        world.close()


@given(st.lists(st.tuples(st.sampled_from([MEDIA, ALT_MEDIA, WASTE]), volumes), max_size=20))
def test_without_kills_the_volume_balances_and_the_fraction_is_one(doses):
    state, inside_ml, alt_ml = NEW, TUBE_ML, 0.0
    for role, ml in doses:
        if role == WASTE:
            taken = min(ml, max(0.0, inside_ml - TUBE_ML))
            alt_ml *= (inside_ml - taken) / inside_ml
            inside_ml -= taken
            state = state.without_waste(ml)
        else:
            inside_ml += ml
            alt_ml += ml if role == ALT_MEDIA else 0.0
            state = state.with_inflow(role, ml)
        assert state.settled_ml == pytest.approx(inside_ml, abs=1e-4)
        assert 0.0 <= state.alt_media_fraction <= 1.0
        assert state.alt_media_fraction == pytest.approx(alt_ml / inside_ml, abs=1e-4)


def test_two_reservations_that_only_fit_alone_are_not_both_given(tmp_path, vial):
    other = a_vial(tmp_path)
    vial.begin(MEDIA, 3.0)
    with pytest.raises(VialFull, match=r"17\.00 ml"):
        other.begin(ALT_MEDIA, 1.0)
    other.begin(ALT_MEDIA, 0.9)
    other.close()


def test_a_correction_frees_what_did_not_come_in(vial):
    state = vial.end(vial.begin(MEDIA, 3.0), 0.5)
    assert (state.volume_ml, state.runs, state.media_throughput) == (14.5, (), 0.5)


def test_a_process_that_died_leaves_its_inflow_counted_and_its_waste_not_removed(tmp_path, vial):
    for role in (MEDIA, WASTE):
        dead = a_vial(tmp_path)
        dead.begin(role, 2.0)
        dead.close()
    state = vial.look()
    assert (state.volume_ml, state.runs) == (16.0, ())


def test_a_process_that_died_is_told_of_once_however_often_one_looks(tmp_path, vial, caplog):
    dead = a_vial(tmp_path)
    dead.begin(MEDIA, 2.0)
    dead.close()
    assert {vial.look().volume_ml for _ in range(3)} == {16.0}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("amount", [math.nan, math.inf, 4.0])
def test_what_is_no_room_is_none(vial, amount):
    with pytest.raises(VialFull):
        vial.begin(MEDIA, amount)
    assert vial.look() == NEW


def test_an_unknown_model_takes_nothing_but_lets_waste_out(tmp_path):
    vial = a_vial(tmp_path, None)
    with pytest.raises(VialUnknown):
        vial.begin(MEDIA, 0.1)
    vial.end(vial.begin(WASTE, 1.0), 1.0)


def test_an_account_that_cannot_be_read_takes_nothing_until_a_person_says_what_there_is(tmp_path, vial):
    vial.put(current_volume_ml=15.0)
    (tmp_path / "vial.account").write_bytes(b"?" * 8192)
    with pytest.raises(VialUnknown):
        vial.begin(MEDIA, 0.1)
    with pytest.raises(VialUnknown):
        vial.put(alt_media_fraction=0.5)
    run = vial.begin(WASTE, 1.0)
    assert vial.end(run, 1.0) is None
    assert vial.put(current_volume_ml=14.0).volume_ml == 14.0
    vial.begin(MEDIA, 0.1)


def test_where_nothing_can_be_written_nothing_comes_in_but_waste_goes_out(tmp_path):
    vial = Vial(tmp_path / "no such folder" / "vial", NEW, MAXIMUM_ML)
    with pytest.raises(Exception, match="cannot be opened"):
        vial.begin(MEDIA, 0.1)
    assert vial.end(vial.begin(WASTE, 1.0), 1.0) is None


def test_media_that_came_after_waste_began_are_not_counted_as_removed(vial):
    waste = vial.begin(WASTE, 10.0)  # takes air at first
    vial.end(vial.begin(MEDIA, 3.0), 3.0)
    assert vial.end(waste, 10.0).volume_ml == 17.0


def test_a_vial_cannot_be_put_while_a_pump_runs(tmp_path, vial):
    run = vial.begin(WASTE, 1.0)
    other = a_vial(tmp_path)
    with pytest.raises(Conflict, match="waste pump runs"):
        other.put(current_volume_ml=10.0)
    vial.end(run, 1.0)
    other.put(current_volume_ml=10.0)


@pytest.mark.parametrize(
    "said",
    [
        {"current_volume_ml": -0.1},
        {"current_volume_ml": math.nan},
        {"current_volume_ml": math.inf},
        {"alt_media_fraction": 1.01},
        {"alt_media_fraction": math.nan},
        {"max_working_volume_ml": 18.0},
        {"max_working_volume_ml": 0.0},
        {"max_working_volume_ml": math.nan},
    ],
    ids=str,
)
def test_what_cannot_be_in_a_vial_is_refused(vial, said):
    with pytest.raises(InvalidRequest):
        vial.put(**said)
    assert vial.look() == NEW


def test_throughputs_belong_to_an_experiment_and_the_volume_does_not(vial):
    vial.end(vial.begin(MEDIA, 1.0, experiment="E1"), 1.0)
    state = vial.end(vial.begin(ALT_MEDIA, 1.0, experiment="E2", before=(5.0, 7.0)), 1.0)
    assert (state.volume_ml, state.media_throughput, state.alt_media_throughput) == (16.0, 5.0, 8.0)


def test_the_waste_tube_is_where_the_configuration_has_it_until_a_person_says_otherwise(tmp_path, vial):
    vial.put(current_volume_ml=17.0)
    moved_up = Vial(tmp_path / "vial.account", VialState(14.0, 0.0, 16.0), MAXIMUM_ML)
    assert moved_up.end(moved_up.begin(WASTE, 9.0), 9.0).volume_ml == 16.0
    moved_up.put(max_working_volume_ml=15.0)
    assert vial.end(vial.begin(WASTE, 9.0), 9.0).volume_ml == 15.0


@pytest.mark.parametrize("option", ["initial_volume_ml", "initial_alt_media_fraction", "max_working_volume_ml"])
def test_a_configuration_that_cannot_be_is_refused(option):
    with pytest.raises(ConfigError, match=option):
        new_state(default_config().with_overrides([["bioreactor", option, "-1"]]))


def test_a_waste_tube_that_ends_at_the_bottom_cannot_be():
    with pytest.raises(ConfigError):
        new_state(default_config().with_overrides([["bioreactor", "max_working_volume_ml", "0"]]))


def test_a_dose_of_media_flushes_the_disk_once_and_waste_never(vial, monkeypatch):
    vial.put(current_volume_ml=15.0)
    flushed = []
    monkeypatch.setattr("os.fdatasync", flushed.append)
    vial.end(vial.begin(MEDIA, 1.0), 0.9)
    assert len(flushed) == 1
    vial.end(vial.begin(WASTE, 1.0), 1.0)
    assert len(flushed) == 1
