"""What is used in a `with` block and closed at its end."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """A device that is closed when its `with` block ends, however it ends."""

    @abstractmethod
    def close(self) -> None:
        """Leave it as nobody's. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
