"""Work for several seeds at once: order, threads, errors."""

import threading

import pytest
import torch

from pipeline.core.side_by_side import run_in_rounds


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_results_are_in_order_and_a_round_shares_the_threads():
    barrier = threading.Barrier(2, timeout=60)
    seen = {}

    def work(item):
        if item < 4:
            barrier.wait()  # both of a round are under way
        seen[item] = torch.get_num_threads()
        return -item

    assert run_in_rounds(work, range(5), 2) == [0, -1, -2, -3, -4]
    assert seen == {0: 1, 1: 1, 2: 1, 3: 1, 4: 2}
    assert torch.get_num_threads() == 2


def test_one_at_a_time_stays_in_this_thread():
    names = run_in_rounds(lambda _: threading.current_thread().name, range(3), 1)
    assert names == [threading.current_thread().name] * 3


def test_one_at_a_time_has_all_threads_even_where_the_one_before_asked_for_fewer():
    def work(_):
        found = torch.get_num_threads()
        torch.set_num_threads(1)
        return found

    assert run_in_rounds(work, range(3), 1) == [2, 2, 2]
    assert torch.get_num_threads() == 2


def test_an_error_waits_for_the_others_of_its_round_and_stops_the_next():
    done = []

    def work(item):
        if item == 0:
            raise ValueError("the first")
        done.append(item)

    with pytest.raises(ValueError, match="the first"):
        run_in_rounds(work, range(4), 2)
    assert done == [1]


def test_nothing_to_do():
    assert run_in_rounds(lambda item: item, [], 2) == []
