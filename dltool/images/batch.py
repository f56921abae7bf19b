"""One batch over files: read ahead, do, write behind, report; what goes wrong with one file never stops the rest."""

import traceback
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from dltool.device import is_out_of_memory
from dltool.errors import DeviceError, DltoolError, ModelError, SettingsError
from dltool.images.folder import Job
from dltool.images.stream import WriteBehind, read_ahead

Content = TypeVar("Content")
_NO_FILES_FAULT = (SettingsError, ModelError)
_LONGEST_REASON = 120


@dataclass(frozen=True)
class OpenedFile(Generic[Content]):
    """File `number` (from 1) of those to do, as it was read."""

    number: int
    job: Job
    content: Content


@dataclass(frozen=True)
class FileStep:
    """A step of the work on file `number` (from 1) of `count`.

    Attributes:
        step: what the command's own work tells.
        together: numbers of the first and the last file of those that are worked on at once with this one.
    """

    job: Job
    number: int
    count: int
    step: Any
    together: tuple[int, int]


@dataclass(frozen=True)
class FileDone:
    """The end of one file.

    Attributes:
        status: `done`, `skipped` where its output was there already, or `failed`.
        error: why it failed; the message names the file.
        result: what the command's own work knows of a file that is done.
    """

    job: Job
    status: str
    error: DltoolError | None = None
    result: Any = None


Read = Callable[[Job], Content]
"""Reads what a job needs; called in threads, ahead of the work."""

Finish = Callable[[], Any]
"""Writes what belongs to one file, in a thread behind the work, and returns the file's result."""

Work = Callable[[list[OpenedFile[Content]]], Generator[tuple[int, Any], None, Sequence[Finish]]]
"""Works on files together: yields (index among them, step), and returns a Finish for each."""

Together = Callable[[OpenedFile[Content]], tuple[Hashable, int]]
"""The kind of a file, and how many of that kind may be worked on together if they follow each other."""


def alone(file: OpenedFile[Content]) -> tuple[Hashable, int]:
    """The Together by which every file is worked on by itself."""
    return None, 1


def run_batch(
    jobs: Sequence[Job],
    read: Read[Content],
    work: Work[Content],
    workers: int,
    advice: str,
    together: Together[Content] = alone,
    ahead: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Do every job and tell of each: of those marked `exists` at once, of all others in the order of the jobs.

    Whatever goes wrong with one file ends as its FileDone, and the next one is done; only wrong settings and a wrong
    model, which are no file's fault, end the batch. Where files that are worked on together fail, they are done once
    more one by one, so that each becomes what it would be without the others; where the memory did not suffice for
    all of them, by halves, and all that follow are as few.

    Args:
        workers: threads that read; 0 reads each file when it is needed.
        advice: what to do where one file alone takes more memory than there is.
        ahead: files to read ahead where that is to be more than `workers`.
        should_stop: asked after every step and every file; when it says so, the files at work are given up, what is
            finished is written and told, and the generator ends.

    Raises:
        SettingsError, ModelError: from `read`, `work` or a Finish.
    """
    yield from (FileDone(job, "skipped") for job in jobs if job.exists)
    waiting = [job for job in jobs if not job.exists]
    files = read_ahead(waiting, partial(_read, read, advice), workers, ahead)
    with WriteBehind() as writer, closing(files):
        batch = _Batch(work, advice, together, should_stop, len(waiting), writer)
        for number, (job, content) in enumerate(files, start=1):
            for step in batch.take(number, job, content):
                yield step
                yield from batch.reports()
            yield from batch.reports()
            if batch.stopped:
                break
        yield from batch.work_off()
        yield from batch.reports(wait=True)


@contextmanager
def failures_of(job: Job, advice: str) -> Iterator[None]:
    """Turn whatever goes wrong into a DltoolError that names the job's file; wrong settings and models stay.

    Raises:
        DeviceError: the memory does not suffice; the message ends with `advice`.
    """
    try:
        yield
    except _NO_FILES_FAULT:
        raise
    except DltoolError as error:
        if str(error).startswith((f"{job.input}: ", f"{job.output}: ")):
            raise
        raise type(error)(f"{job.input}: {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise DeviceError(f"{job.input}: out of memory; {advice}") from error
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise DltoolError(f"{job.input}: {type(error).__name__}: {reason}") from error


def _read(read: Read[Content], advice: str, job: Job) -> Content:
    with failures_of(job, advice):
        return read(job)


def _finish(finish: Finish, advice: str, job: Job) -> FileDone:
    try:
        with failures_of(job, advice):
            return FileDone(job, "done", result=finish())
    except _NO_FILES_FAULT:
        raise
    except DltoolError as error:
        return FileDone(job, "failed", error)


class _Batch:
    """The files that were read: some wait for others to go with, some are being written, all are told in order."""

    def __init__(
        self,
        work: Work[Content],
        advice: str,
        together: Together[Content],
        should_stop: Callable[[], bool],
        count: int,
        writer: WriteBehind,
    ) -> None:
        self._work, self._advice, self._together = work, advice, together
        self._should_stop, self._count, self._writer = should_stop, count, writer
        self._most: int | None = None  # files for which the memory sufficed, once it did not
        self._group: list[OpenedFile[Content]] = []
        self._kind: Hashable = None
        self._ends: dict[int, Future[FileDone] | FileDone | None] = {}  # by number, in order; None: not there yet
        self.stopped = False

    def take(self, number: int, job: Job, content: Content | DltoolError) -> Iterator[FileStep]:
        """Take the next file; work on those that wait if it does not go with them, or completes them."""
        self._ends[number] = None
        if isinstance(content, _NO_FILES_FAULT):
            raise content
        if isinstance(content, DltoolError):
            self._ends[number] = FileDone(job, "failed", content)
            self.stopped = self._should_stop()
            return
        file = OpenedFile(number, job, content)
        kind, limit = self._together(file)
        if kind != self._kind:
            yield from self.work_off()
        self._kind = kind
        self._group.append(file)
        if len(self._group) >= min(limit, self._most or limit):
            yield from self.work_off()

    def work_off(self) -> Iterator[FileStep]:
        """Work on the files that wait, and queue what is to be written of them."""
        parts = deque([self._group] if self._group else [])
        self._group = []
        while parts and not self.stopped:
            part = parts.popleft()
            error = yield from self._try(part)
            if error is not None and len(part) == 1:
                self._ends[part[0].number] = FileDone(part[0].job, "failed", error)
            elif error is not None:
                # What is wrong with one, or with all at once, must not change what the others become.
                size = 1
                if isinstance(error, DeviceError):
                    size = self._most = len(part) // 2
                parts.extendleft(reversed([part[start : start + size] for start in range(0, len(part), size)]))
            self.stopped = self.stopped or self._should_stop()

    def _try(self, part: list[OpenedFile[Content]]) -> Generator[FileStep, None, DltoolError | None]:
        """Work on files together, and return what went wrong with any of them."""
        numbers = part[0].number, part[-1].number
        try:
            with failures_of(part[0].job, self._advice), closing(self._work(part)) as steps:
                while True:
                    try:
                        index, step = next(steps)
                    except StopIteration as end:
                        finishes = end.value
                        break
                    file = part[index]
                    yield FileStep(file.job, file.number, self._count, step, numbers)
                    if self._should_stop():
                        self.stopped = True
                        return None
        except _NO_FILES_FAULT:
            raise
        except DltoolError as error:
            _let_go(error)
            return error
        for file, finish in zip(part, finishes, strict=True):
            self._ends[file.number] = self._writer.submit(partial(_finish, finish, self._advice, file.job))
        return None

    def reports(self, wait: bool = False) -> Iterator[FileDone]:
        """The ends of files, in order, as far as they are there; with `wait` all, but of files that were given up."""
        while self._ends:
            number, end = next(iter(self._ends.items()))
            if not wait and (end is None or (isinstance(end, Future) and not end.done())):
                return
            del self._ends[number]
            if end is not None:
                yield end.result() if isinstance(end, Future) else end


def _let_go(error: BaseException | None) -> None:
    """Drop what the frames of a traceback hold, images on a GPU above all, so that there is room to try again."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
