"""Names and addresses: the unit's own, the leader's, loopback."""

import threading

import pytest
from harness import DEADLINE_S, wait_for

from reactor_unit import network_names
from reactor_unit.network_names import NamedAddress, is_loopback, is_own_address, own_names, packed, split_host


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::", False),
        ("", False),
        ("localhost", False),
        ("127.1", False),
    ],
)
def test_loopback_is_told_by_the_address(address, is_one):
    assert is_loopback(address) is is_one


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("127.0.0.1", True),
        ("192.0.2.7", False),  # a documentation address, which no interface has
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("pio01", False),
    ],
)
def test_own_addresses_are_those_of_the_interfaces(address, is_one):
    assert is_own_address(address) is is_one


@pytest.mark.parametrize(
    ("header", "name", "port"),
    [
        ("pio01", "pio01", ""),
        ("PIO01.Local:4999", "pio01.local", "4999"),
        ("pio01.local.", "pio01.local", ""),
        ("10.0.0.7:80", "10.0.0.7", "80"),
        ("[::1]", "::1", ""),
        ("[FE80::1]:4999", "fe80::1", "4999"),
        ("", "", ""),
        ("a,b", "", ""),
        ("a b", "", ""),
        ("pio01:port", "", ""),
        ("pio01:80:90", "", ""),
        ("user@pio01", "", ""),
        ("[pio01]", "", ""),
        ("[::1", "", ""),
        ("[::1]4999", "", ""),
    ],
)
def test_a_host_header_is_read_or_refused(header, name, port):
    assert split_host(header) == (name, port)


def test_the_units_names_come_with_and_without_local():
    names = own_names("Pio01", "lab-pi.example.org")
    assert names == {
        "localhost",
        *("pio01", "pio01.local"),
        *("lab-pi", "lab-pi.local", "lab-pi.example.org", "lab-pi.example.org.local"),
    }
    assert own_names("", "pi.local") == {"localhost", "pi", "pi.local"}


def test_a_literal_leader_is_compared_by_value_and_never_looked_up():
    def resolve(_name):
        raise AssertionError("looked up")

    leader = NamedAddress("[2001:DB8:0::1]", resolve)
    assert leader.has("2001:db8::1")
    assert not leader.has("2001:db8::2")
    assert NamedAddress("10.0.0.7", resolve).has("::ffff:10.0.0.7")
    assert not NamedAddress("", resolve).has("10.0.0.7")


def test_a_named_leader_is_looked_up_once_a_minute_and_keeps_what_was_good():
    now, answers, asked = [0.0], [["10.0.0.7"], OSError("no network"), ["10.0.0.8"]], []

    def resolve(name):
        asked.append(name)
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    leader = NamedAddress("leader.local", resolve, lambda: now[0])
    assert leader.has("10.0.0.7")
    assert not leader.has("10.0.0.9")
    assert asked == ["leader.local"]
    now[0] = 61.0
    leader.has("10.0.0.7")
    wait_for(lambda: len(asked) == 2, "the second look-up")
    assert leader.has("10.0.0.7")
    now[0] = 130.0
    wait_for(lambda: leader.has("10.0.0.8"), "the third look-up")
    assert not leader.has("10.0.0.7")


def test_a_name_service_that_hangs_costs_a_request_a_moment(monkeypatch):
    monkeypatch.setattr(network_names, "WAIT_FOR_NAME_S", 0.01)
    free = threading.Event()
    leader = NamedAddress("leader.local", lambda _name: free.wait(2 * DEADLINE_S) and ["10.0.0.7"])
    assert not leader.has("10.0.0.7")
    free.set()
    wait_for(lambda: leader.has("10.0.0.7"), "the answer")


def test_packed_takes_zones_and_refuses_names():
    assert packed("fe80::1%eth0") == packed("fe80::1")
    assert packed("pio01") is None
    assert packed("1.2.3") is None
    assert packed("a\0b") is None
