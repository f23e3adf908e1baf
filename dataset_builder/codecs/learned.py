"""Evidence: what a linear reader of band power makes of a trial, as the odds of nine emotions in nine letters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from dataset_builder.codecs.base import Features, Target
from dataset_builder.codecs.crossfit import crossfit
from dataset_builder.codecs.evidence_config import EvidenceConfig
from dataset_builder.codecs.evidence_fit import EvidenceFit
from dataset_builder.codecs.evidence_words import describe_evidence, explain_evidence
from dataset_builder.codecs.fidelity import DB_PER_NAT, Comparison, PowerComparison
from dataset_builder.codecs.fitted import Fitted
from dataset_builder.codecs.normalize import extract_ranks, scale_to_person
from dataset_builder.codecs.power import check_seconds, extract_power
from dataset_builder.codecs.projection import check_channels
from dataset_builder.codecs.ridge import log_softmax, sum_odds
from dataset_builder.codecs.scaled import ScaledCodec
from dataset_builder.codecs.views import make_views
from dataset_builder.errors import InputError
from dataset_builder.recipe import StrictModel
from dataset_builder.segments import cut_segments, rank_segments
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS, Code, Recording

#: Log odds that the letters reach over, from p = .0003 to p = .98. Beyond are half of FACED's values at the low end and
#: the leading emotion of two trials in five at the high end, where a step more would tell nothing. With -6 at the low
#: end eight letters of hardly possible emotions took .02 from the probability of a sure one.
_RANGE = (-8.0, 4.0)

#: The range of codecs that do not say theirs.
_OLD_RANGE = (-6.0, 4.0)

#: Where log odds are cut before they are quantised.
_LIMIT = 20.0

_LABEL = "EEG"


class EvidenceCodec(ScaledCodec):
    """Odds of nine emotions, learned from the training subjects' labels.

    Band power of every second, its course and its course in units of its spread (`make_views`) are scaled to the person
    cell by cell, and a ridge regression scores the classes; a softmax of the scores with the sharpness that is
    calibrated on left-out rows gives probabilities. Training subjects are encoded by cross-fitted codecs, see `Fitted`.

    A place of a missing channel counts as average (its z is 0); below `MIN_CHANNELS` channels the recording is refused.
    A code cannot show which were missing: a row tells it in its column ``channels``. Trials of another length than
    ``seconds`` are refused.

    ``Code.values`` is an int8 array of shape (9,), in the order of `EMOTIONS`. Fitted state, float32 unless said, with
    n columns and c classes (13,500 and 28 on FACED, 1 MB in all): ``mean``, ``within``, ``between``, ``offset`` (n,);
    ``weight`` (n, c) float16 in units of ``gain`` (1,); ``bias`` (c,); ``sharpness`` (1 + r,), for everybody and for
    each of r sampling rates ``rates_hz`` (r,); ``range`` (2,), log odds; ``owner`` (c,) int8, the emotion of each
    class; ``template`` (9, 30, 5), nats.
    """

    name: ClassVar[str] = "evidence"
    Config: ClassVar[type[StrictModel]] = EvidenceConfig
    needs_fit: ClassVar[bool] = True
    supervised: ClassVar[bool] = True

    @property
    def reads(self) -> str:
        """Differential entropy."""
        return "de"

    @property
    def n_values(self) -> int:
        """One per emotion."""
        return len(EMOTIONS)

    @property
    def error_bound(self) -> float:
        """Half a step, in log odds."""
        return self._step / 2

    def cut(self, recording: Recording) -> Recording:
        """Return the segments of a recording's trials where the recipe asks for segments; see `cut_segments`."""
        return cut_segments(recording, self.config.seconds) if self.config.segments else recording

    def extract(self, recording: Recording) -> Features:
        """Keep log power per second, shape (n_trials, seconds, 30, 5), nats, and the sampling rate of the device, Hz.

        Raises
        ------
        InputError
            If trials are not of the length that the recipe names, fewer than `MIN_CHANNELS` scalp channels are there,
            or what `extract_power` raises.
        """
        check_seconds(self.name, recording, self.config.seconds)
        power = extract_power(recording, "de", self.config.seconds)
        check_channels(self.name, sum(name in recording.channels for name in SCALP_CHANNELS))
        causal = self.config.normalization.mode == "causal"
        ranks = rank_segments(recording) if causal else extract_ranks(recording)
        rates = np.full(len(recording), recording.device_sfreq_hz or 0, dtype=np.float32)
        return {"power": power, "ranks": ranks, "rates_hz": rates}

    def fit(self, people: Iterable[Features]) -> Self:
        """Refuse: without labels there is nothing to learn.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(f"codec {self.name}: learns from labels; fit_supervised takes the place of fit")

    def fit_supervised(
        self, people: Mapping[str, Features], targets: Mapping[str, Sequence[Target]], seed: int
    ) -> Fitted:
        """Fit on all training subjects and, for each of them, on others; see `Codec.fit_supervised`.

        For target ``emotion`` the codec of a training row saw neither the person nor the clip's fold.

        Raises
        ------
        InputError
            If fewer than three people with labelled trials are given, or fewer than two classes.
        """
        how = self.config
        learn = EvidenceFit(people, targets, how.kind, how.normalization, how.penalty, how.lost_channels)
        own = {"range": np.array(_RANGE, dtype=np.float32)}
        return crossfit(
            lambda subjects, without: type(self)(how, learn(subjects, without) | own),
            targets,
            folds=how.folds,
            over_clips=how.target == "emotion",
            seed=seed,
            held_out_fold=how.held_out_fold,
        )

    def encode(self, features: Features) -> list[Code]:
        """Encode the trials of one person. See the class for the scaling.

        Raises
        ------
        InputError
            If the codec is not fitted, or the scaling needs an order of presentation that is unknown.
        """
        return [self.make_code(odds) for odds in self.scale_values(features)]

    def scale_values(self, features: Features) -> np.ndarray:
        """Return what is quantised, shape (n_trials, 9), log odds between -20 and 20."""
        if not self.state:
            raise InputError(f"codec {self.name}: not fitted; build a corpus first or load a fitted codec")
        state, views = self.state, make_views(features["power"], self.config.kind)
        z, _ = scale_to_person(views, features["ranks"], state, self.config.normalization)
        weight = state["weight"].astype(np.float32) * state["gain"]
        scores = np.nan_to_num(z[:, 0] - state["offset"]) @ weight + state["bias"]
        probabilities = log_softmax(self._find_sharpness(features)[:, None] * scores.astype(np.float64))
        return sum_odds(probabilities, state["owner"], len(EMOTIONS), _LIMIT)

    def _find_sharpness(self, features: Features) -> np.ndarray:
        """Return the sharpness of each trial's device, or that of everybody, shape (n_trials,)."""
        sharpness, known = self.state["sharpness"], self.state.get("rates_hz", np.empty(0))
        rates = features.get("rates_hz", np.zeros(len(features["power"])))
        places = np.array([next(iter(np.flatnonzero(known == rate) + 1), 0) for rate in rates], dtype=int)
        return np.asarray(sharpness[places], dtype=np.float64)

    def make_code(self, odds: np.ndarray) -> Code:
        """Return the code of log odds, shape (9,): for augmentation between `decode` and `to_text`."""
        levels = np.clip(np.floor((odds - self._range[0]) / self._step), 0, self.config.levels - 1)
        return Code(self.name, levels.astype(np.int8))

    def decode(self, code: Code) -> np.ndarray:
        """Return the middle of each step, shape (9,), float32, log odds."""
        return np.asarray(self._range[0] + (code.values.astype(np.float32) + 0.5) * self._step, dtype=np.float32)

    def read_probabilities(self, code: Code) -> np.ndarray:
        """Return the probabilities of the nine emotions, float64; they sum to one."""
        chances = 1 / (1 + np.exp(-self.decode(code).astype(np.float64)))
        return np.asarray(chances / chances.sum())

    def compare(self, recording: Recording) -> Iterator[Comparison]:
        """Yield power per channel, relative to the person's trials, beside what the evidence lets expect.

        The code holds no power. What can be said from it is the mean pattern of each emotion's training trials, weighed
        with its probability; see `Codec.compare`.
        """
        features = self.extract(self.cut(recording))
        power = features["power"].mean(axis=1)
        for code, truth in zip(self.encode(features), power - power.mean(axis=0), strict=True):
            expected = np.tensordot(self.read_probabilities(code), self.state["template"], axes=1)
            pair = (truth, np.where(np.isnan(truth), np.nan, expected))
            yield PowerComparison(SCALP_CHANNELS, *((part[None] * DB_PER_NAT).transpose(2, 0, 1) for part in pair))

    def to_text(self, code: Code) -> str:
        """Write one line per emotion, its name and its letter; or one line of letters."""
        if self.config.layout == "bare":
            return self._quantiser.write_line(_LABEL, code.values[None])
        lines = zip(EMOTIONS, code.values, strict=True)
        return "\n".join(self._quantiser.write_line(emotion, np.array([[level]])) for emotion, level in lines)

    def from_text(self, text: str) -> Code:
        """Read `to_text` back; see `Codec.from_text`."""
        bare, lines = self.config.layout == "bare", text.split("\n")
        labels, shape = ((_LABEL,), (1, len(EMOTIONS))) if bare else (EMOTIONS, (1, 1))
        read = [self._quantiser.read_line(*pair, shape) for pair in zip(lines, labels, strict=False)]
        found = [levels.ravel() for levels in read if levels is not None and (levels >= 0).all()]
        if not len(found) == len(lines) == len(labels):
            raise InputError(f"{self.name} text: expected {len(EMOTIONS)} symbols in {len(labels)} lines")
        return Code(self.name, np.concatenate(found))

    def explain(self, language: str = "en") -> str:
        """Say what the symbols mean and, for the system prompt as well, that films are recognised."""
        low, high = (symbol.strip() for symbol in (self.alphabet[0], self.alphabet[-1]))
        return explain_evidence(low, high, self.config.target, bare=self.config.layout == "bare", language=language)

    def describe(self, code: Code, language: str = "en") -> str:
        """Say how far the code speaks for one emotion alone; which one, the code itself tells."""
        return describe_evidence(float(self.read_probabilities(code).max()), language)

    @property
    def _range(self) -> tuple[float, float]:
        """Log odds at the outer edges of the first and the last letter."""
        if not self.state:
            return _RANGE
        low, high = self.state.get("range", _OLD_RANGE)
        return float(low), float(high)

    @property
    def _step(self) -> float:
        return (self._range[1] - self._range[0]) / self.config.levels
