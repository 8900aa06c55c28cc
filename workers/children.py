"""Forking the unit's processes, and what each of them must do first."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import os
import signal
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NoReturn

from reactor_unit import logs
from reactor_unit.channel import Channel, ChannelClosed, Message, NoMessage, channel_pair
from reactor_unit.workers.loop import Loop, Timer

log = logging.getLogger(__name__)

_PRCTL = ctypes.CDLL(None).prctl
STDIN, STDERR = 0, 2
UNKNOWN_EXIT = 255
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HANDLED_IN_CHILDREN = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD)

ChildMain = Callable[[Channel], None]
OnExit = Callable[["Child", "Exit"], None]
OnMessage = Callable[["Child", Message], None]

MESSAGES_A_TURN = 16  # of one child, before others are heard


class Child:
    """A process that the supervisor forked, with the supervisor's end of its channel."""

    def __init__(self, name: str, pid: int, channel: Channel) -> None:
        self.name = name
        self.pid = pid
        self.channel = channel
        self._pidfd = os.pidfd_open(pid)
        self._kill_timer: Timer | None = None
        self.ended = False
        self.listening = True

    def fileno(self) -> int:
        """Return the pidfd, readable once the process has ended."""
        return self._pidfd

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to exactly this process; does nothing when it has ended."""
        if self.ended:
            return
        with contextlib.suppress(ProcessLookupError):  # it ended; its pidfd tells the loop
            signal.pidfd_send_signal(self._pidfd, number)

    def end(self, loop: Loop, grace_s: float) -> None:
        """Ask the process to end, and kill it when it has not within `grace_s` seconds."""
        if self.ended:
            return
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        if self._kill_timer is None:
            self._kill_timer = loop.call_later(grace_s, lambda: self.signal(signal.SIGKILL))

    def reap(self) -> Exit:
        """Collect the ended process, close what belongs to it, and say how it ended."""
        code = _reaped(self.pid)
        self.ended = True
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        os.close(self._pidfd)
        self.channel.close()
        return Exit(code)


@dataclass(frozen=True)
class Exit:
    """How a process ended: its exit code, or the negative number of the signal that killed it."""

    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exited with code {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"


class Nursery:
    """Forks children and watches for their end. A child keeps nothing open but its channel and what is named."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._children: set[Child] = set()

    @property
    def children(self) -> frozenset[Child]:
        """Every child that has not been reaped."""
        return frozenset(self._children)

    def fork(
        self,
        name: str,
        main: ChildMain,
        on_exit: OnExit,
        on_message: OnMessage | None = None,
        keep: Iterable[int] = (),
    ) -> Child:
        """Fork a child that runs `main(channel)`.

        `on_message(child, message)` is called for everything it sends, all of it before `on_exit(child, how)`, which
        is called once it has ended and was reaped. `keep` names descriptors that this child is meant to have.
        Raises OSError when the system cannot fork; then nothing is left behind.
        """
        ours, theirs = channel_pair()
        parent, kept = os.getpid(), frozenset({theirs.fileno(), *keep})
        # A signal that arrives before the child has its own handlers must wait, not run the supervisor's.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_IN_CHILDREN)
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(name, main, theirs, parent, kept)
            child = _watched(name, pid, ours)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        self._children.add(child)
        deliver = on_message or _ignore
        self._loop.watch(child, lambda: self._reap(child, on_exit, deliver))
        self._loop.watch(child.channel, lambda: self._read(child, deliver, MESSAGES_A_TURN))
        return child

    def _read(self, child: Child, deliver: OnMessage, at_most: float) -> None:
        """Deliver what has arrived; watch the channel no longer once the child has closed it."""
        try:
            while at_most > 0 and child.listening:
                deliver(child, child.channel.receive())
                at_most -= 1
        except BlockingIOError:
            pass
        except ChannelClosed:
            self._listen_no_more(child)
        except NoMessage as ex:  # other people's code runs in children, and may write into any descriptor
            log.error("%s (process %d) does not speak as it should, and is ended: %s", child.name, child.pid, ex)
            self._listen_no_more(child)
            child.signal(signal.SIGKILL)

    def _listen_no_more(self, child: Child) -> None:
        child.listening = False
        self._loop.unwatch(child.channel)

    def _reap(self, child: Child, on_exit: OnExit, deliver: OnMessage) -> None:
        self._read(child, deliver, math.inf)  # what it said before it ended
        if child.listening:
            self._listen_no_more(child)
        self._loop.unwatch(child)
        self._children.discard(child)
        on_exit(child, child.reap())


def _watched(name: str, pid: int, channel: Channel) -> Child:
    """Return the child that was forked; end it when it cannot be watched, and raise OSError."""
    try:
        return Child(name, pid, channel)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        _reaped(pid)
        raise


def _reaped(pid: int) -> int:
    """Collect an ended process; return its exit code, or the negative number of the signal that killed it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return UNKNOWN_EXIT  # whoever started the unit had it ignore SIGCHLD: then the kernel keeps no codes


def _ignore(_child: Child, _message: Message) -> None:
    """Drop a message of a child that has nothing to say."""


def _close_descriptors(kept: Collection[int]) -> None:
    """Close all descriptors but these and the standard ones.

    They are closed by number: their Python objects belong to the supervisor's frames, which this process still has
    and never goes back to, so none of them is closed a second time.
    """
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > STDERR and descriptor not in kept:
            with contextlib.suppress(OSError):  # the listing's own is gone
                os.close(descriptor)


def _run_child(name: str, main: ChildMain, channel: Channel, parent: int, kept: Collection[int]) -> NoReturn:
    """Become a well-behaved child, run `main`, and exit; say what went wrong if it raises.

    It never returns into the supervisor's frames, whatever happens.
    """
    try:
        _settle(name, parent, kept)
        main(channel)
        os._exit(0)
    except Exception:
        log.exception("The process met an unexpected error and ends.")
    finally:
        os._exit(1)


def _settle(name: str, parent: int, kept: Collection[int]) -> None:
    """Leave behind what is the supervisor's: process group, signals, descriptors, name."""
    os.setpgid(0, 0)  # never setsid: see docs/architecture.md, How processes end
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), STDIN)
    _close_descriptors(kept)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_IN_CHILDREN)
    logs.rename(name)


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when the one that forked it ends. It may have ended already."""
    _PRCTL(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class TerminationGuard:
    """Turns SIGTERM and SIGHUP into a request to end, and makes sure that an end comes.

    `on_request` is called in the main thread, once. If the process still lives `grace_s` seconds later,
    `last_resort` is called wherever the main thread is in Python code, and the process exits. (One that hangs inside a
    C function is killed by the supervisor.)
    """

    def __init__(self, on_request: Callable[[], None], last_resort: Callable[[], None], grace_s: float) -> None:
        self._on_request = on_request
        self._last_resort = last_resort
        self._grace_s = grace_s
        self._requested = False
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self._requested:
            return
        self._requested = True
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)
        self._on_request()

    def _on_alarm(self, _number: int, _frame: object) -> NoReturn:
        signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(1))
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)  # for a last resort that hangs as well
        try:
            self._last_resort()
        finally:
            os._exit(1)
