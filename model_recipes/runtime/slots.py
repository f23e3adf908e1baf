"""Which prompts llama.cpp still has in memory, and beside which of them the next one costs least to read."""

from collections.abc import Sequence

#: Two: of a short recording every window that was scored is still there when one of them is to be explained.
N_SLOTS = 2


class Slots:
    """The last prompts, each in a place of its own.

    Only a guess of what llama.cpp holds, which compares for itself: a wrong one costs time and changes no answer.
    """

    def __init__(self) -> None:
        self._held: list[tuple[int, ...]] = [()] * N_SLOTS
        self._order = list(range(N_SLOTS))  # least recently used first

    def take(self, prompt: Sequence[int]) -> int:
        """Return the place for a prompt, and note that it lies there from now on.

        The place is the one where the fewest tokens must be read or are lost, so that a window's prompt never replaces
        another one's while what all prompts begin with lies bare elsewhere.
        """
        slot = min(self._order, key=lambda place: self._count_cost(place, prompt))
        self._order.remove(slot)
        self._order.append(slot)
        self._held[slot] = tuple(prompt)
        return slot

    def fill(self, prompt: Sequence[int]) -> None:
        """Note that every place holds a prompt."""
        self._held = [tuple(prompt)] * N_SLOTS

    def _count_cost(self, slot: int, prompt: Sequence[int]) -> int:
        """Return how many tokens of the prompt are missing in a place, and how many there would be dropped."""
        pairs = zip(self._held[slot], prompt, strict=False)
        shared = next((i for i, (old, new) in enumerate(pairs) if old != new), min(len(self._held[slot]), len(prompt)))
        return len(prompt) + len(self._held[slot]) - 2 * shared
