"""The one error that devices raise."""


class HardwareFault(Exception):
    """A part of the reactor does not answer, or was told something it must not do.

    The message names the part (bus, address, pin); `cause` says why; `remediation` says what to check.
    """

    def __init__(
        self, message: str, *, cause: str | None = None, remediation: str = "Check its wiring and power."
    ) -> None:
        super().__init__(message)
        self.cause = cause or message
        self.remediation = remediation
