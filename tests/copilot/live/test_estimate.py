import json

import numpy as np
import pytest

from copilot.live.estimate import LiveReader, join_features, make_causal
from copilot.live.loop import Update, follow_stream
from copilot.live.view import redraw, render_json, render_line, render_update
from dataset_builder.codecs import BandPowerConfig, Normalization, WaveletConfig, make_codec
from dataset_builder.errors import InputError
from dataset_builder.prompts import DEFAULT_STYLE
from dataset_builder.types import EMOTIONS, SCALP_CHANNELS
from tests.copilot.copilot_fakes import FakeEngine, ScriptedEngine, fitted_codec, make_signal, peaked

SFREQ_HZ = 250.0


def make_reader(engine=None, unit_uv=1.0, **facts):
    engine = engine or FakeEngine("joy")
    facts = {"age": 24} | facts
    return LiveReader(engine, fitted_codec(), DEFAULT_STYLE, SCALP_CHANNELS, SFREQ_HZ, unit_uv, **facts)


def make_samples(seconds=35, seed=0):
    return make_signal(1, len(SCALP_CHANNELS), seed, seconds=seconds)[0].astype(np.float64)


def test_a_full_window_gives_nine_scores():
    found = make_reader().estimate(make_samples(), 0.0, 35.0)
    assert found.emotion == "joy"
    assert sum(found.scores.values()) == pytest.approx(1)
    assert tuple(found.scores) == EMOTIONS
    assert (found.window_s, found.withheld, found.low_confidence) == (30, "", False)
    assert found.usable_share == 1.0
    assert any("rests on 0 s" in caution for caution in found.cautions)
    assert found.processor_s > 0
    assert found.wall_s > 0


def test_a_short_window_is_read_with_a_caution_and_a_shorter_one_is_not():
    reader = make_reader()
    assert reader.estimate(make_samples(9), 0.0, 9.0).withheld.startswith("Collecting: 9 of at least 10")
    found = reader.estimate(make_samples(12), 0.0, 12.0)
    assert found.emotion == "joy"
    assert "The window holds 12 of 30 s, repeated." in found.cautions


def test_scores_are_smoothed_and_forgotten_after_a_gap():
    engine = ScriptedEngine([peaked("joy", 0.9), peaked("fear", 0.9), peaked("fear", 0.9)])
    reader = make_reader(engine, step_s=2.0)
    assert reader.estimate(make_samples(), 0.0, 35).emotion == "joy"
    second = reader.estimate(make_samples(), 0.0, 37)
    assert second.emotion == "joy"
    assert second.raw["fear"] == pytest.approx(0.9)
    weight = np.exp(-0.2)
    assert second.scores["joy"] == pytest.approx(weight * 0.9 + (1 - weight) * 0.1 / 8)
    assert reader.estimate(make_samples(), 0.5, 39).withheld.startswith("50% of the window's samples were dropped")
    assert reader.estimate(make_samples(), 0.0, 41).scores["fear"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda samples: samples * 50, "usable"),
        (lambda samples: samples * (np.arange(30) < 6)[:, None], "24 of 30 channels are flat"),
        (lambda samples: samples * np.where(np.arange(30) < 12, 30, 1)[:, None], "flat or noisy"),
    ],
)
def test_a_bad_signal_is_not_asked_about(change, reason):
    engine = FakeEngine("joy")
    found = make_reader(engine).estimate(change(make_samples()), 0.0, 35.0)
    assert reason in found.withheld
    assert (found.scores, found.emotion, engine.prompts) == ({}, None, [])


def test_an_age_out_of_range_is_not_answered():
    assert "age" in make_reader(age=80).estimate(make_samples(), 0.0, 35.0).withheld


def test_what_was_seen_so_far_sets_the_scale_and_nothing_later():
    first, later = make_samples(seed=1), make_samples(seed=2) * 1.7
    fresh, seasoned, engine = make_reader(), None, FakeEngine("joy")
    fresh.estimate(later, 0.0, 65.0)
    alone = fresh._engine.prompts[-1]
    seasoned = make_reader(engine)
    seasoned.estimate(first, 0.0, 35.0)
    unaffected = engine.prompts[-1]
    seasoned.estimate(later, 0.0, 65.0)
    assert engine.prompts[-1] != alone
    assert len(seasoned._history) == 2
    again = make_reader()
    again.estimate(first, 0.0, 35.0)
    assert again._engine.prompts[-1] == unaffected


def test_overlapping_windows_do_not_count_twice():
    reader = make_reader()
    for at_s in range(35, 64, 9):
        reader.estimate(make_samples(), 0.0, float(at_s))
    assert len(reader._history) == 1


def test_the_code_is_that_of_the_causal_codec():
    codec, scales = make_causal(fitted_codec())
    assert scales
    assert codec.normalization == "causal"
    assert fitted_codec().normalization == "session"
    same, scales = make_causal(make_codec(BandPowerConfig(normalization=Normalization(mode="none"))))
    assert (same.normalization, scales) == ("none", False)
    wavelet = make_codec(WaveletConfig())
    assert make_causal(wavelet) == (wavelet, False)


def test_joined_windows_are_ranked_by_time():
    part = {"power": np.ones((1, 1, 30, 5)), "ranks": np.array([1], dtype=np.int16)}
    joined = join_features([part, part, part])
    assert joined["ranks"].tolist() == [1, 2, 3]
    assert joined["power"].shape == (3, 1, 30, 5)


@pytest.mark.parametrize("factor", [1.0, 1e-6])
def test_an_unstated_unit_is_told_from_the_amplitudes(factor):
    found = make_reader(unit_uv=None).estimate(make_samples() * factor, 0.0, 35.0)
    assert found.emotion == "joy"
    assert any("states no unit" in caution for caution in found.cautions)


def test_a_unit_that_fits_nothing_is_one_line():
    with pytest.raises(InputError, match="does not state its unit"):
        make_reader(unit_uv=None).estimate(make_samples() * 1e-3, 0.0, 35.0)


class FakeStream:
    """A stream that sends a second per pull, as fast as it is asked."""

    channels, sfreq_hz = SCALP_CHANNELS, SFREQ_HZ

    def __init__(self, seconds):
        self.left, self.at = seconds, 0

    def pull(self, timeout_s):
        if not self.left:
            return np.empty((0, 30)), np.empty(0)
        self.left -= 1
        stamps = self.at + np.arange(250) / 250
        self.at += 1
        return make_signal(1, 30, self.at, seconds=1)[0].T, stamps

    def now_s(self):
        return self.at + 0.25


def test_the_loop_tells_age_and_counts(monkeypatch):
    monkeypatch.setattr("copilot.live.loop._ENDED_S", 2.0)
    updates = list(follow_stream(FakeStream(40), make_reader(), step_s=0.5))
    assert len(updates) >= 2
    assert updates[-1].received == 10000
    assert updates[-1].buffer_age_s == pytest.approx(0.254, abs=0.01)
    assert updates[-1].estimate.emotion == "joy"


def test_samples_dropped_before_the_window_do_not_count(monkeypatch):
    monkeypatch.setattr("copilot.live.loop._ENDED_S", 2.0)
    stream = FakeStream(34)
    pull = stream.pull

    def lose(timeout_s):
        stream.at += 4 if stream.left == 31 else 0  # 4 of the 35 s that are kept, none of the newest 30 s
        return pull(timeout_s)

    stream.pull = lose
    last = list(follow_stream(stream, make_reader(), step_s=0.5))[-1]
    assert (last.dropped, last.estimate.emotion, last.estimate.withheld) == (1000, "joy", "")


def test_a_silent_stream_ends_with_one_line(monkeypatch):
    monkeypatch.setattr("copilot.live.loop._ENDED_S", 0.05)
    with pytest.raises(InputError, match="sent no sample"):
        list(follow_stream(FakeStream(0), make_reader(), step_s=5))


def test_an_ended_stream_stops_the_loop(monkeypatch):
    monkeypatch.setattr("copilot.live.loop._ENDED_S", 0.05)
    assert list(follow_stream(FakeStream(2), make_reader(), step_s=60)) == []


def test_views_say_what_is_known():
    update = Update(65.0, make_reader().estimate(make_samples(), 0.0, 35.0), 7, 16000, 0.123)
    block = "\n".join(render_update(update))
    assert "time 01:05   window 30 s   dropped at least 7 of 16007   newest sample 0.12 s old" in block
    assert all(f"  {emotion}" in block for emotion in EMOTIONS)
    told = json.loads(render_json(update))
    assert (told["emotion"], told["dropped"], told["buffer_age_s"]) == ("joy", 7, 0.123)
    assert told["notice"]
    assert "dropped at least 7  age 0.12 s  joy 60.0%" in render_line(update)
    withheld = Update(1.0, make_reader().estimate(make_samples(3), 0.0, 3.0), 0, 750, 0.0)
    assert "none: Collecting" in render_line(withheld)
    assert "none: Collecting" in "\n".join(render_update(withheld))


def test_no_emotion_is_named_on_low_confidence():
    estimate = make_reader(FakeEngine("joy", share=0.12)).estimate(make_samples(), 0.0, 35.0)
    update = Update(65.0, estimate, 0, 16000, 0.1)
    assert (estimate.emotion, estimate.low_confidence, estimate.withheld) == (None, True, "")
    told = json.loads(render_json(update))
    assert (told["emotion"], told["low_confidence"], len(told["scores"])) == (None, True, 9)
    assert "none: Low confidence: the scores hardly favour one label" in render_line(update)
    block = "\n".join(render_update(update))
    assert "estimate   none: Low confidence" in block
    assert "  joy           12.0%" in block


def test_redraw_goes_up_by_what_was_drawn_and_cuts_long_lines():
    assert redraw(["a", "b"], 0, 80) == "a\nb"
    assert redraw(["a"], 5, 80) == "\x1b[5F\x1b[Ja"
    assert redraw(["x" * 100], 0, 40) == "x" * 39
