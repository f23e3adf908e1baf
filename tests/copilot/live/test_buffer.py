import numpy as np
import pytest

from copilot.live.buffer import SampleBuffer

SFREQ_HZ = 250


def feed(buffer, stamps, values=None, chunk=50):
    values = np.arange(len(stamps), dtype=float) if values is None else values
    for start in range(0, len(stamps), chunk):
        part = slice(start, start + chunk)
        buffer.append(np.stack([values[part], -values[part]], axis=1), stamps[part])


def make_stamps(seconds, start=1000.0):
    return start + np.arange(round(seconds * SFREQ_HZ)) / SFREQ_HZ


def test_keeps_the_newest_samples_in_order():
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=4)
    feed(buffer, make_stamps(10))
    data, missing = buffer.window(2)
    assert data.shape == (2, 500)
    assert data[0].tolist() == list(range(2000, 2500))
    assert (data[1] == -data[0]).all()
    assert (missing, buffer.dropped, buffer.received, len(buffer)) == (0.0, 0, 2500, 1000)
    assert buffer.newest_s == pytest.approx(1009.996)


@pytest.mark.parametrize("lost", [1, 7, 125, 700])
def test_dropped_samples_are_counted_and_filled_where_they_were(lost):
    stamps, values = make_stamps(20), np.arange(5000.0)
    kept = np.r_[0:2500, 2500 + lost : 5000]
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=20)
    feed(buffer, stamps[kept], values[kept])
    assert buffer.dropped == lost
    data, missing = buffer.window(20)
    assert data[0] == pytest.approx(np.arange(5000))  # a ramp: the straight line is the truth
    assert missing == pytest.approx(lost / 5000)


def test_late_chunks_and_jitter_are_no_drops():
    rng = np.random.default_rng(0)
    stamps = make_stamps(60)
    late = np.repeat(rng.uniform(0, 0.05, len(stamps) // 50), 50)  # each chunk up to 50 ms late
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    feed(buffer, stamps + late + rng.normal(0, 0.001, len(stamps)))
    assert buffer.dropped == 0


@pytest.mark.parametrize("drift", [1 - 2e-4, 1 + 2e-4])
def test_a_clock_that_runs_fast_or_slow_is_no_drop(drift):
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    feed(buffer, 1000 + (make_stamps(300) - 1000) * drift)
    assert buffer.dropped == 0


def test_several_holes_add_up():
    stamps = make_stamps(40)
    kept = np.ones(len(stamps), dtype=bool)
    for start in (1000, 3000, 5000, 7000):
        kept[start : start + 10] = False
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    feed(buffer, stamps[kept])
    assert buffer.dropped == 40


def test_a_source_that_starts_anew_begins_a_new_window():
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    feed(buffer, make_stamps(5))
    feed(buffer, make_stamps(2, start=10.0))
    assert (len(buffer), buffer.dropped, buffer.received) == (500, 0, 1750)


def test_nothing_is_there_at_first():
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    buffer.append(np.empty((0, 2)), np.empty(0))
    data, missing = buffer.window(30)
    assert data.shape == (2, 0)
    assert missing == 0.0
    assert np.isnan(buffer.newest_s)


def test_samples_that_are_no_numbers_are_held_and_told():
    buffer = SampleBuffer(2, SFREQ_HZ, keep_s=30)
    values = np.arange(1000.0)
    values[0], values[400:500] = np.nan, np.inf
    feed(buffer, make_stamps(4), values)
    data, missing = buffer.window(4)
    assert data[0, 0] == 0
    assert (data[0, 400:500] == 399).all()
    assert (data[1, 500:] == -np.arange(500, 1000)).all()
    assert missing == pytest.approx(101 / 1000)
    assert buffer.dropped == 0
