"""The progress of training in a terminal, which must not change the result."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from skconvnet import ConvNetClassifier, _progress
from skconvnet._progress import draw_bar, print_record
from skconvnet.layers import BatchNorm, Conv2D, Dropout

RECORD = {"epoch": 1, "train_loss": 0.5, "train_score": 1.0, "learning_rate": 1e-3, "duration": 0.25}
rng = np.random.default_rng(0)
X, y = rng.random((90, 6, 6)), np.arange(90) % 3


@pytest.fixture
def slow(monkeypatch):
    """Let a second pass between two calls of the clock, so that no drawing of the bar is skipped."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: next(seconds))


@pytest.fixture
def terminal(capsys, monkeypatch, slow):
    """Return a function that returns what was written to a terminal."""
    monkeypatch.setattr(_progress, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    return lambda: capsys.readouterr().out


def read_screen(text):
    """Return the lines that remain on a terminal, without overwritten text."""
    lines = []
    for written in text.split("\n"):
        line = ""
        for part in written.split("\r"):
            line = part + line[len(part) :]
        lines.append(line.rstrip())
    return lines


def make(**options):
    layers = [Conv2D(3), BatchNorm(), Dropout(0.3)]
    return ConvNetClassifier(layers, batch_size=2, random_state=0, **{"max_iter": 2, **options})


def drop_durations(clf):
    return [{**record, "duration": 0} for record in clf.history_]


def test_bar_grows_and_is_erased(terminal):
    make(verbose=2).fit(X, y, X_val=X, y_val=y)
    written = terminal()
    bars = [part for part in written.split("\r") if "#" in part]
    # 45 batches in parts of 4, in each of two epochs
    assert len(bars) == 24 and bars[0] == f"    1  [{'##':<30}]   9%"
    assert bars[11] == f"    1  [{'#' * 30}] 100%" and bars[12].startswith("    2  [##  ")
    head, *lines = read_screen(written)
    assert head.split()[:5] == ["epoch", "train_loss", "train_score", "valid_loss", "valid_score"]
    assert [line.split()[0] for line in lines[:2]] == ["1", "2"] and lines[2:] == [""]
    assert {len(line) for line in lines[:2]} == {len(head)}


def test_bar_does_not_change_the_result(terminal):
    quiet, shown = make().fit(X, y), make(verbose=2).fit(X, y)
    assert "#" in terminal()
    np.testing.assert_array_equal(quiet.network_.params, shown.network_.params)
    assert drop_durations(quiet) == drop_durations(shown)


@pytest.mark.parametrize("verbose", [1, 2])
def test_files_and_notebooks_get_whole_lines(capsys, slow, verbose):
    make(verbose=verbose).fit(X, y)
    written = capsys.readouterr().out
    assert "\r" not in written and "#" not in written and len(written.splitlines()) == 3


def test_verbose_1_has_no_bar(terminal):
    make(verbose=1).fit(X, y)
    assert "\r" not in terminal()


def test_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    make(verbose=2).fit(X, y)


def test_quick_epochs_have_no_bar(terminal, monkeypatch):
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: 0.0)
    with draw_bar(1, 2) as report:
        report(0.5)
    assert terminal() == ""


def test_bar_is_erased_when_training_fails(terminal):
    with pytest.raises(KeyboardInterrupt), draw_bar(1, 2) as report:
        report(0.5)
        raise KeyboardInterrupt
    written = terminal()
    assert "#" in written and read_screen(written) == [""]


@pytest.mark.parametrize("value", [1e-9, 0.1, 99999.99, 1e5, 123456789.0, 3e38, float("nan"), float("inf")])
def test_columns_stay_aligned(capsys, value):
    print_record({**RECORD, "train_loss": value, "train_score": -value, "duration": 12345.678}, first=True)
    head, line = capsys.readouterr().out.splitlines()
    assert len(line) == len(head)
    shown = float(line.split()[1])
    assert shown == pytest.approx(value, rel=1e-3, abs=1e-4, nan_ok=True)
