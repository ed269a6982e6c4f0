# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""Work done in threads ahead of who needs it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar


Task = TypeVar("Task")
Result = TypeVar("Result")


def read_ahead(function: Callable[[Task], Result], tasks: Iterable[Task], num_threads: int) -> Iterator[Result]:
    """Results of tasks in their order, while threads work at those to come.

    Args:
        function: Called in a thread with one task.
        tasks: Taken one by one.
        num_threads: Number of tasks ahead; 0: no threads.

    Yields:
        Results. An error of `function` is raised when its result is due.
    """
    if num_threads == 0:
        yield from map(function, tasks)
        return
    pending: deque[Future] = deque()
    for task in tasks:
        pending.append(_started(function, task))
        if len(pending) > num_threads:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _started(function: Callable[[Any], Any], task: Any) -> Future:
    """A thread of its own for each task: what takes milliseconds need not share, and none keeps an interrupted program alive."""
    future: Future = Future()
    threading.Thread(target=_fill, args=(future, function, task), daemon=True).start()
    return future


def _fill(future: Future, function: Callable[[Any], Any], task: Any) -> None:
    try:
        future.set_result(function(task))
    except BaseException as error:
        future.set_exception(error)
