"""An output under PWM that is claimed, and on only under a lease."""

from collections.abc import Callable

from .claims import Claims
from .closing import Closing
from .leases import pin_output
from .pwm import PWM


class LeasedPWM(Closing):
    """Claim an output, open it with `open_pwm`, and drive it; to the device above a `PWM` like any other.

    It is on only while its lease is held: with `lasting_s`, setting a duty cycle holds it, and it is renewed with the
    process's others; without, `plan` holds it before. `close()` leaves the output off, then gives the claim back; it
    may be called twice. When the output could not be turned off the claim stays, and with it the supervisor's duty
    to make the output safe once this process has ended.
    """

    def __init__(self, claims: Claims, pin: int, open_pwm: Callable[[], PWM], lasting_s: float | None) -> None:
        self.pin = pin
        self._claims = claims
        self._lease = claims.claim(pin_output(pin), lasting_s)
        try:
            self._pwm = open_pwm()
        except BaseException:
            claims.release(pin_output(pin))
            raise
        self.frequency_hz = self._pwm.frequency_hz
        self._commands = 0

    @property
    def duty_cycle(self) -> float:
        """The duty cycle in %, 0..100, that was last set."""
        return self._pwm.duty_cycle

    @property
    def generation(self) -> int:
        """How many commands this output has had: what was begun under an older number may be out of date."""
        return self._commands

    def plan(self, for_s: float) -> None:
        """Have the output on for at most so many real seconds from now. Raises OutputRevoked."""
        self._lease.hold(for_s)

    def set_duty_cycle(self, duty_cycle: float) -> None:
        """Be at `duty_cycle` (%, 0..100). Idempotent. Raises OutputRevoked unless it is 0."""
        self._commands += 1
        if duty_cycle != 0.0:
            if self._lease.lasting_s is not None:
                self._lease.hold()
            else:
                self._lease.check_held()
        self._pwm.set_duty_cycle(duty_cycle)
        if duty_cycle == 0.0:
            self._lease.rest()

    def restore(self, duty_cycle: float, generation: int) -> bool:
        """Be at `duty_cycle` unless a newer command came after `generation`; return whether it was done.

        For those who turn an output off for a moment: what a person or an interlock commanded meanwhile stands.
        """
        if generation != self._commands:
            return False
        self.set_duty_cycle(duty_cycle)
        return True

    def close(self) -> None:
        """Be off, for good, and give the claim back. May be called twice."""
        self._pwm.close()
        self._claims.release(pin_output(self.pin))
