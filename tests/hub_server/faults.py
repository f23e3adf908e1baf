"""Trouble on demand: named faults for one test, random ones that depend on nothing but a seed and the request."""

import random
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

#: Kinds of trouble. ``drop`` cuts the line before anything is done, ``lost`` after it was done, ``midway`` while the
#: answer is under way; ``foreign`` lets somebody else commit first; a number is a status.
KINDS = ("drop", "lost", "midway", "foreign", "slow", "503", "429", "507")


@dataclass
class Fault:
    """What happens to the next `times` requests that match."""

    method: str
    pattern: str
    kind: str
    times: int = 1
    retry_after: str = ""
    event: Callable[[], object] | None = None

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and re.fullmatch(self.method, method) is not None and bool(re.search(self.pattern, path))


@dataclass
class Weather:
    """Random faults: each request gets one with the given chance, by seed, method, path and how often it was asked.

    Parameters
    ----------
    seed : int
    rates : dict of str to float
        Kind -> chance per request; ``"kind /part/"`` is for requests whose path has that part.
    """

    seed: int
    rates: dict[str, float]
    asked: Counter[str] = field(default_factory=Counter)

    def draw(self, method: str, path: str) -> Fault | None:
        request = f"{method} {path}"
        self.asked[request] += 1
        chance = random.Random(f"{self.seed} {request} {self.asked[request]}").random()
        for key, rate in self.rates.items():
            kind, _, part = key.partition(" ")
            if part not in path:
                continue
            if (chance := chance - rate) < 0:
                return Fault(method, "", kind, retry_after="0" if kind == "429" else "")
        return None


class Faults:
    """The queue of planned faults, and the weather if there is any."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.planned: list[Fault] = []
        self.weather: Weather | None = None
        self.struck: Counter[str] = Counter()

    def plan(self, method: str, pattern: str, kind: str | int, times: int = 1, **more: str) -> None:
        """Let the next `times` requests that match meet a fault of that kind."""
        self.planned.append(Fault(method, pattern, str(kind), times, **more))

    def before_next(self, method: str, pattern: str, event: Callable[[], object]) -> None:
        """Let something happen just before the next matching request is answered, as if somebody else were quicker."""
        self.planned.append(Fault(method, pattern, "foreign", event=event))

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request meets, if any."""
        with self.lock:
            found = next((fault for fault in self.planned if fault.fits(method, path)), None)
            if found:
                found.times -= 1
            elif self.weather:
                found = self.weather.draw(method, path)
            if found:
                self.struck[found.kind] += 1
            return found
