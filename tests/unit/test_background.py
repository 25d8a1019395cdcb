"""Work in the background keeps its order, raises its errors, and never runs far behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from foreachonce.spark.frames import each_in_background


def test_every_item_is_worked_on_in_order():
    done: list[int] = []
    each_in_background(done.append, range(100))
    assert done == list(range(100))


def test_nothing_to_do_is_done_at_once():
    each_in_background(pytest.fail, [])


def test_all_work_is_done_on_one_other_thread():
    threads = set()
    each_in_background(lambda _: threads.add(threading.get_ident()), range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("bad", [0, 3, 19])
def test_error_of_the_work_is_raised(bad):
    def work(number: int) -> None:
        if number == bad:
            raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match=f"item {bad}"):
        each_in_background(work, range(20))


def test_first_error_is_the_one_that_is_raised():
    def work(number: int) -> None:
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item 0"):
        each_in_background(work, range(20))


def test_no_more_items_are_read_after_an_error():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> None:
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item 0"):
        each_in_background(work, items(), depth=2)
    assert len(taken) <= 3


def test_error_of_the_items_is_raised():
    done: list[int] = []

    def items() -> Iterator[int]:
        yield 1
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        each_in_background(done.append, items())
    assert done == [1]


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_items_are_read_no_further_ahead_than_the_depth(depth):
    gate, taken = threading.Event(), []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    reader = threading.Thread(target=each_in_background, args=(lambda _: gate.wait(60), items()), kwargs={"depth": depth})
    reader.start()
    deadline = time.monotonic() + 10
    while len(taken) < depth + 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    ahead = len(taken)
    gate.set()
    reader.join(20)
    assert (ahead, len(taken)) == (depth + 1, 50)  # one is worked on, ``depth`` wait
