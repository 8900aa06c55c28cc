"""HTTP client of a unit, typed, and the poller of many (`reactor_unit.client.poll`)."""

from reactor_unit.client.addresses import DEFAULT_URL
from reactor_unit.client.connection import BUSY_STATUSES, OUTAGE_S
from reactor_unit.client.errors import (
    ClientError,
    TaskNotDone,
    UnitAnswerError,
    UnitTaskFailed,
    UnitUnreachable,
    completed,
)
from reactor_unit.client.records import (
    Accepted,
    BytesProgress,
    Fault,
    Health,
    JobRow,
    Json,
    Plugin,
    Progress,
    Reading,
    Take,
    TaskRecord,
)
from reactor_unit.client.unit_client import UnitClient

__all__ = [
    "BUSY_STATUSES",
    "DEFAULT_URL",
    "OUTAGE_S",
    "Accepted",
    "BytesProgress",
    "ClientError",
    "Fault",
    "Health",
    "JobRow",
    "Json",
    "Plugin",
    "Progress",
    "Reading",
    "Take",
    "TaskNotDone",
    "TaskRecord",
    "UnitAnswerError",
    "UnitClient",
    "UnitTaskFailed",
    "UnitUnreachable",
    "completed",
]
