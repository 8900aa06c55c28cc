"""The client of one unit: one method an endpoint, and one that waits for a task."""

from __future__ import annotations

from reactor_unit.client.calibrations import Calibrations
from reactor_unit.client.data import Data
from reactor_unit.client.jobs import Jobs
from reactor_unit.client.machine import Machine
from reactor_unit.client.tasks import Tasks


class UnitClient(Jobs, Tasks, Data, Calibrations, Machine):
    """Connection to the unit at `url`; a context manager, or `close()` it.

    `timeout` bounds each wait on the network, in s. Every method raises UnitUnreachable when nothing answers and
    UnitAnswerError when the unit refuses. Proxy settings of the environment are not used: units are on the local
    network. `token` is the administrator's, and sent with nothing but what needs it. Raises ValueError for a URL that
    cannot be one.
    """
