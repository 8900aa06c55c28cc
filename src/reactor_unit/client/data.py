"""Readings, self-test results, and the files of the unit's data folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, cast
from urllib.parse import quote

from reactor_unit.client.addresses import query
from reactor_unit.client.connection import Connection
from reactor_unit.client.records import Accepted, BytesProgress, Json, Reading, Take


def no_progress(_done: int, _total: int | None) -> None:
    """Do not watch how many bytes came or went."""


class Data(Connection):
    """What a unit has measured and keeps."""

    def reading_names(self) -> list[str]:
        """Return the names of all series of readings."""
        return list(self._get_object("/readings/names", needs="names")["names"])

    def readings(
        self,
        names: Sequence[str] = (),
        *,
        since: str | float | None = None,
        until: str | float | None = None,
        limit: int | None = None,
    ) -> list[Reading]:
        """Return readings in the order of time: the first from `since` on, or without it the newest before `until`.

        Times are ISO timestamps or seconds since 1970. A name may end with `*`; no name means all.
        """
        answer = self._get_object(f"/readings{_wanted(names, since, until, limit)}", needs="readings")
        return cast(list[Reading], answer["readings"])

    def readings_csv(
        self,
        names: Sequence[str] = (),
        *,
        since: str | float | None = None,
        until: str | float | None = None,
        limit: int | None = None,
    ) -> str:
        """Return what `readings` does as CSV, with a line of headers."""
        path = f"/readings{_wanted(names, since, until, limit, form='csv')}"
        return self._good(self._send("GET", path)).content.decode("utf-8", "replace")

    def self_test_results(self) -> Json:
        """Return the newest run of the self-tests (`job_id`, `planned`), and the last result of each (`results`)."""
        return self._get_object("/self_test/results", needs="results")

    def folder(self, path: str = "") -> Json:
        """Return what a folder of the unit's data folder holds: `current`, `dirs` and `files`."""
        found = self._get_object(_file_path(path), needs="dirs")
        if not isinstance(found.get("files"), list):
            raise self._unreadable(200)
        return found

    def download_file(self, path: str, take: Take, progress: BytesProgress = no_progress) -> None:
        """Give the content of a file of the unit's data folder to `take`, piece by piece."""
        self._download(_file_path(path), take, progress)

    def remove_file(self, filepath: str) -> Accepted:
        """Ask for the removal of a file of the unit's data folder."""
        return self._submit("/system/remove_file", {"filepath": filepath})

    def download_archive(self, take: Take, progress: BytesProgress = no_progress) -> None:
        """Give an archive of the unit's data folder to `take`, piece by piece; its length is not known before."""
        self._download("/zipped_dot_pioreactor", take, progress)

    def import_archive(self, archive: BinaryIO, progress: BytesProgress = no_progress) -> Accepted:
        """Ask for an archive of a data folder to become the unit's own; needs the administrator's token."""
        return self._upload("/import_zipped_dot_pioreactor", "archive", "archive.zip", archive, progress)


def _wanted(
    names: Sequence[str],
    since: str | float | None,
    until: str | float | None,
    limit: int | None,
    form: str | None = None,
) -> str:
    return query({"names": ",".join(names) or None, "since": since, "until": until, "limit": limit, "format": form})


def _file_path(path: str) -> str:
    return "/system/path/" + quote(path.strip("/"))
