"""The one batch over files, with work that is told by the test."""

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dltool.errors import DataError, DeviceError, DltoolError, ModelError, SettingsError
from dltool.images.batch import FileDone, FileStep, run_batch
from dltool.images.folder import Job, OnExisting, own_share, plan_outputs, process_rank


def _jobs(count: int, existing: tuple[int, ...] = ()) -> list[Job]:
    return [Job(Path(f"{n}.png"), Path(f"out/{n}.png"), n in existing) for n in range(1, count + 1)]


def _number(job: Job) -> int:
    return int(job.input.stem)


class _Work:
    """Counts what it is given; `trouble` is called with the numbers before anything is yielded."""

    def __init__(self, trouble: Callable[[list[int]], None] = lambda numbers: None, steps: int = 1) -> None:
        self.groups: list[list[int]] = []
        self.written: list[int] = []
        self._trouble, self._steps = trouble, steps

    def __call__(self, files):
        numbers = [file.content for file in files]
        self.groups.append(numbers)
        self._trouble(numbers)
        for step in range(self._steps):
            for index in range(len(files)):
                yield index, f"step {step}"
        return [lambda number=number: self._write(number) for number in numbers]

    def _write(self, number: int) -> int:
        self.written.append(number)
        return 10 * number


def _run(work, jobs=None, read=_number, most: int = 1, workers: int = 2, **more) -> list:
    jobs = _jobs(5) if jobs is None else jobs
    return list(run_batch(jobs, read, work, workers, "buy more", lambda file: ("any", most), **more))


def _ends(events: list) -> list[tuple[int, str]]:
    return [(_number(event.job), event.status) for event in events if isinstance(event, FileDone)]


def _errors(events: list) -> list[DltoolError]:
    return [event.error for event in events if isinstance(event, FileDone) and event.error is not None]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("most", [1, 2, 9])
def test_files_that_are_there_are_told_first_and_all_others_in_order(workers: int, most: int):
    def read(job: Job) -> int:
        if _number(job) in (1, 4, 6):
            raise DataError(f"{job.input}: damaged picture")
        return _number(job)

    work = _Work()
    events = _run(work, _jobs(7, existing=(3, 5)), read, most, workers)
    assert _ends(events) == [
        *((3, "skipped"), (5, "skipped"), (1, "failed"), (2, "done")),
        *((4, "failed"), (6, "failed"), (7, "done")),
    ]
    assert [event.result for event in events if isinstance(event, FileDone) and event.status == "done"] == [20, 70]
    assert work.written == [2, 7]
    assert [str(error) for error in _errors(events)] == [f"{n}.png: damaged picture" for n in (1, 4, 6)]


def test_a_step_says_which_file_of_how_many_it_is_about():
    events = _run(_Work(steps=2), _jobs(4, existing=(1,)), most=2)
    steps = [event for event in events if isinstance(event, FileStep)]
    assert [(_number(s.job), s.number, s.count, s.step, s.together) for s in steps] == [
        *((2, 1, 3, "step 0", (1, 2)), (3, 2, 3, "step 0", (1, 2))),
        *((2, 1, 3, "step 1", (1, 2)), (3, 2, 3, "step 1", (1, 2))),
        *((4, 3, 3, "step 0", (3, 3)), (4, 3, 3, "step 1", (3, 3))),
    ]


def test_files_of_a_kind_that_follow_each_other_go_together_and_a_bad_one_does_not_part_them():
    def read(job: Job) -> int:
        if _number(job) == 2:
            raise DataError("2 is bad")
        return _number(job)

    work = _Work()
    kinds = {1: "a", 3: "a", 4: "a", 5: "a", 6: "b", 7: "a"}
    list(run_batch(_jobs(7), read, work, 2, "", lambda file: (kinds[file.content], 3)))
    assert work.groups == [[1, 3, 4], [5], [6], [7]]


@pytest.mark.parametrize(
    ("place", "message"),
    [("read", "3.png: ValueError: odd"), ("work", "3.png: ValueError: odd"), ("write", "3.png: ValueError: odd")],
)
@pytest.mark.parametrize("most", [1, 5])
def test_whatever_goes_wrong_with_one_file_is_its_own_failure(place: str, message: str, most: int):
    def odd(there: str, numbers: list[int]) -> None:
        if there == place and 3 in numbers:
            raise ValueError("odd")

    def read(job: Job) -> int:
        odd("read", [_number(job)])
        return _number(job)

    class Work(_Work):
        def _write(self, number: int) -> int:
            odd("write", [number])
            return super()._write(number)

    work = Work(lambda numbers: odd("work", numbers))
    events = _run(work, read=read, most=most)
    assert _ends(events) == [(1, "done"), (2, "done"), (3, "failed"), (4, "done"), (5, "done")]
    assert work.written == [1, 2, 4, 5]
    (error,) = _errors(events)
    assert str(error) == message
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("kind", [SettingsError, ModelError])
@pytest.mark.parametrize("place", ["read", "work", "write"])
def test_wrong_settings_and_a_wrong_model_end_the_batch(place: str, kind: type[DltoolError]):
    def wrong(there: str, number: int) -> None:
        if there == place and number == 2:
            raise kind("--layer conv9: no such layer")

    def read(job: Job) -> int:
        wrong("read", _number(job))
        return _number(job)

    class Work(_Work):
        def _write(self, number: int) -> int:
            wrong("write", number)
            return super()._write(number)

    work = Work(lambda numbers: wrong("work", numbers[0]))
    with pytest.raises(kind, match=r"^--layer conv9: no such layer$"):
        _run(work, read=read)
    assert work.written[:1] == [1]


def _memory_for(most: int) -> Callable[[list[int]], None]:
    def look(numbers: list[int]) -> None:
        if len(numbers) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return look


def test_files_that_do_not_fit_together_go_by_halves_and_so_do_all_that_follow():
    work = _Work(_memory_for(2))
    events = _run(work, _jobs(14), most=8)
    assert _ends(events) == [(n, "done") for n in range(1, 15)]
    assert work.groups[:4] == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4], [1, 2], [3, 4]]
    assert work.groups[-3:] == [[9, 10], [11, 12], [13, 14]]
    assert work.written == list(range(1, 15))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("no"), RuntimeError("can't allocate memory")])
def test_a_file_that_does_not_fit_alone_fails_with_the_code_of_memory_and_what_to_do(error: Exception):
    def look(numbers: list[int]) -> None:
        if 2 in numbers:
            raise error

    events = _run(_Work(look), _jobs(3), most=2)
    assert _ends(events) == [(1, "done"), (2, "failed"), (3, "done")]
    (told,) = _errors(events)
    assert (type(told), str(told)) == (DeviceError, "2.png: out of memory; buy more")


def test_what_a_failed_attempt_held_is_let_go_before_the_next():
    class Held:
        pass

    held: list[weakref.ref] = []

    def look(numbers: list[int]) -> None:
        assert all(each() is None for each in held)
        mine = Held()
        held.append(weakref.ref(mine))
        if len(numbers) > 1:
            raise torch.OutOfMemoryError(f"no room for {mine}")

    assert set(_ends(_run(_Work(look), _jobs(4), most=4))) == {(n, "done") for n in range(1, 5)}
    assert len(held) == 3 + 4, "four, two and two, and each alone"


def test_stopping_gives_up_the_files_at_work_and_writes_what_is_finished():
    seen = []

    def should_stop() -> bool:
        return len(seen) > 5

    work = _Work(steps=2)
    jobs = _jobs(9)
    for event in run_batch(jobs, _number, work, 1, "", lambda file: ("any", 2), should_stop=should_stop):
        seen.append(event)
    assert work.groups == [[1, 2], [3, 4]]
    assert work.written == [1, 2]
    assert _ends(seen) == [(1, "done"), (2, "done")]


def test_leaving_the_batch_waits_for_what_is_being_written():
    work = _Work(steps=2)
    events = run_batch(_jobs(9), _number, work, 1, "")
    for event in events:
        if isinstance(event, FileStep) and event.number == 2:
            break
    events.close()
    assert work.written == [1]


def test_processes_of_torchrun_share_a_list_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert process_rank() == (0, 1)
    assert own_share([1, 2, 3]) == [1, 2, 3]
    for name in "abcde":
        (tmp_path / f"{name}.png").touch()
    shares = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        assert process_rank() == (rank, 2)
        jobs = plan_outputs([tmp_path], tmp_path / "out", ".png", OnExisting.ERROR)
        shares.append([job.output.stem for job in jobs])
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "a.png").touch()  # what the first has done is no obstacle to the second
    assert shares == [["a", "c", "e"], ["b", "d"]]
