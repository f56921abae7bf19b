import threading

import pytest

from dltool.errors import DataError
from dltool.images.stream import WriteBehind, read_ahead


def _double(value: int) -> int:
    if value == 3:
        raise DataError("3 is broken")
    return 2 * value


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_order_and_errors_in_their_place(workers: int):
    results = list(read_ahead(range(6), _double, workers))
    assert [item for item, _ in results] == list(range(6))
    assert [result for _, result in results if isinstance(result, int)] == [0, 2, 4, 8, 10]
    assert str(results[3][1]) == "3 is broken"


def test_the_next_item_is_read_while_the_first_is_worked_on():
    second_read = threading.Event()
    stream = read_ahead([1, 2], lambda item: second_read.set() if item == 2 else None, workers=1)
    next(stream)
    assert second_read.wait(5)


def test_more_items_than_threads_can_be_read_ahead():
    read = [threading.Event() for _ in range(6)]
    stream = read_ahead(range(6), lambda item: read[item].set(), workers=1, ahead=3)
    next(stream)
    assert all(event.wait(5) for event in read[:4])
    assert not read[4].wait(0.1)


def test_an_unexpected_error_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead([1], lambda item: item / 0, workers=1))


def test_leaving_waits_for_every_write():
    gate, done = threading.Event(), []
    with WriteBehind() as writer:
        writer.submit(lambda: (gate.wait(5), done.append(1)))
        future = writer.submit(lambda: done.append(2))
        assert done == []
        gate.set()
    assert done == [1, 2]
    assert future.done()


def test_a_failed_write_is_told_by_its_future():
    def fail() -> None:
        raise DataError("disk full")

    with WriteBehind() as writer:
        futures = [writer.submit(fail) for _ in range(4)]
    assert [str(future.exception()) for future in futures] == ["disk full"] * 4
