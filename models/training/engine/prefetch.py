"""Makes what is needed next in threads, a little before its use: OpenCV and Pillow release Python's lock."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")
AHEAD = 3


def prefetch(make: Callable[[int], Made], numbers: range, threads: int) -> Generator[Made, None, None]:
    """`make` of each number, in order. An error in making one is raised where it would have been used.

    Close the iterator to stop early; what is being made is then waited for.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as executor:
        waiting: deque[Future[Made]] = deque()
        try:
            for number in numbers:
                waiting.append(executor.submit(make, number))
                if len(waiting) > max(AHEAD, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
