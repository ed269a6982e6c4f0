"""Accidents of a Hub, prepared by a test: failing requests and connections that break."""

import re
from dataclasses import dataclass, field
from threading import Lock


@dataclass
class Fault:
    """What happens to some requests; one of the last three is given.

    Args:
        method: HTTP method of the requests.
        path: Regular expression that is searched in their paths.
        skip: How many such requests are spared first.
        times: How many are hit after that.
        status: They are answered with this error, and nothing else is done.
        request_bytes: The connection breaks after so many bytes of the request's body, and nothing else is done.
        answer_bytes: What was asked is done; the connection breaks after so many bytes of the answer's body.
    """

    method: str
    path: str
    skip: int = 0
    times: int = 1
    status: int | None = None
    request_bytes: int | None = None
    answer_bytes: int | None = None

    def hits(self, method: str, path: str) -> bool:
        """Whether this request is hit; each call counts."""
        if method != self.method or not re.search(self.path, path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Faults:
    """The accidents that are still to happen."""

    _faults: list[Fault] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def fail(self, method: str, path: str, status: int = 500, *, skip: int = 0, times: int = 1) -> None:
        """Requests are answered with an error."""
        self._faults.append(Fault(method, path, skip, times, status=status))

    def cut_request(self, method: str, path: str, after_bytes: int = 0, *, skip: int = 0, times: int = 1) -> None:
        """Connections break while a request arrives."""
        self._faults.append(Fault(method, path, skip, times, request_bytes=after_bytes))

    def cut_answer(self, method: str, path: str, after_bytes: int = 0, *, skip: int = 0, times: int = 1) -> None:
        """Connections break while an answer is sent."""
        self._faults.append(Fault(method, path, skip, times, answer_bytes=after_bytes))

    def take(self, method: str, path: str) -> Fault | None:
        """What happens to a request that arrives now."""
        with self._lock:
            return next((fault for fault in self._faults if fault.hits(method, path)), None)

    def pending(self) -> list[Fault]:
        """Accidents that have not happened, or not often enough."""
        return [fault for fault in self._faults if fault.times]
