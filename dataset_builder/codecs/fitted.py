"""What a fit gives: the codec for everybody, and for people it was fitted on the codecs that never met them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dataset_builder.codecs.base import Codec, Features
from dataset_builder.types import Code


@dataclass(frozen=True)
class Fitted:
    """A fitted codec and its cross-fitted siblings.

    A codec that learned from labels knows the trials it learned from by heart. Were training rows encoded by it, a
    model would be trained on codes that are right nearly always and tested on codes that are not (Wolpert 1992, Neural
    Netw 5:241). So a training subject's rows come from a sibling that was fitted in the same way on other people.

    Parameters
    ----------
    codec : Codec
        Fitted on all training subjects; it encodes everybody else, and it alone is saved.
    crossfitted : dict of str to Codec
        For each training subject a codec that never saw this subject; empty for codecs that see no labels.
    unmet : dict of (str, int) to Codec
        Where the code claims to hold for new clips too: for a training subject and a clip the codec that saw neither.
    """

    codec: Codec
    crossfitted: dict[str, Codec] = field(default_factory=dict)
    unmet: dict[tuple[str, int], Codec] = field(default_factory=dict)

    def encode(self, subject: str, features: Features, clips: Sequence[int | None]) -> list[Code]:
        """Encode all trials of one person, each with the codec that may.

        Parameters
        ----------
        subject : str
        features : dict of str to ndarray
            From `Codec.extract`.
        clips : sequence of (int or None)
            Stimulus number of each trial.

        Raises
        ------
        InputError
            See `Codec.encode`.
        """
        usual = self.crossfitted.get(subject, self.codec)
        chosen = [usual if clip is None else self.unmet.get((subject, clip), usual) for clip in clips]
        codes = {id(codec): codec.encode(features) for codec in {id(codec): codec for codec in chosen}.values()}
        return [codes[id(codec)][trial] for trial, codec in enumerate(chosen)]
