"""What the pool does with files of the data folder."""

from __future__ import annotations

from reactor_unit.errors import StorageFault
from reactor_unit.home import DataFolder
from reactor_unit.served_files import ServedFiles
from reactor_unit.workers.tasks import TaskContext, TaskFunction

REMOVE_FILE = "remove_file"
TIMEOUT_S = 30.0


def task_functions(folder: DataFolder) -> tuple[TaskFunction, ...]:
    """Return the pool tasks; the result of `remove_file` is true, or the task fails and says why."""
    files = ServedFiles(folder.path)

    def remove_file(context: TaskContext, *, filepath: str) -> bool:
        files.check_allowed()
        try:
            files.remove(filepath)
        except OSError as ex:
            raise StorageFault(f"{filepath} cannot be removed: {ex.strerror}.") from ex
        return True

    return (TaskFunction(REMOVE_FILE, remove_file, timeout_s=TIMEOUT_S),)
