"""Augmentation of training windows: what changes, what stays, and that a resumed run draws the same; recent windows."""

import numpy as np
import pytest
import torch
import zoo
from data import build_data, prepare
from test_ridge import noisy
from test_samplers import LENGTHS, SPLIT

from datamodules.windows.augment import Augmentation
from datamodules.windows.samplers import WeightedSampler
from seqmodels.errors import InputError
from seqmodels.window import Window, check


def changed(spec, batch=200, position=0, **arguments) -> tuple[Window, Window]:
    window = zoo.window(spec, batch)
    augmentation = Augmentation(**{"mask": 0.0, "jitter": 0.0, "mix": 0.0, "seed": 3} | arguments)
    other = augmentation(window, spec.missing, 0, position)
    check(other, spec)
    return window, other


def same(window: Window, other: Window, *names: str) -> bool:
    fields = window.inputs._asdict() | window.targets._asdict(), other.inputs._asdict() | other.targets._asdict()
    return all(torch.equal(fields[0][name], fields[1][name]) for name in fields[0] if name not in names)


@pytest.mark.parametrize("spec", ["plain", "rich"])
def test_a_mask_hides_one_stretch_before_the_last_step(spec):
    window, other = changed(zoo.SPECS[spec], mask=0.5)
    before, after = window.inputs, other.inputs
    differs = (before.past_target != after.past_target).any(-1)
    lengths = []
    for row in range(200):
        steps = differs[row].nonzero()[:, 0].tolist()
        lengths.append(steps[-1] - steps[0] + 1 if steps else 0)
    assert max(lengths) == 10 and len(set(lengths)) == 11 and not differs[:, -1].any()
    if spec == "plain":
        assert same(window, other, "past_target") and bool(after.past_observed.all())
        row = lengths.index(10)
        steps = differs[row].nonzero()[:, 0]
        assert len(steps) == 10  # a straight line
        curve = after.past_target[row, max(0, int(steps[0]) - 1) : int(steps[-1]) + 2]
        torch.testing.assert_close(curve.diff(dim=0).diff(dim=0), torch.zeros_like(curve[2:]), rtol=0, atol=1e-4)
    else:
        assert same(window, other, "past_target", "past_observed")
        hidden = before.past_observed & ~after.past_observed
        assert hidden.any() and not after.past_target[~after.past_observed].any()
        assert not (after.past_observed & ~before.past_observed).any()


def test_jitter_adds_noise_in_seasonal_errors_to_the_past_only():
    window, other = changed(zoo.RICH, 2000, jitter=0.2)
    noise = (other.inputs.past_target - window.inputs.past_target) / window.inputs.seasonal_error[:, None]
    seen = window.inputs.past_observed
    assert same(window, other, "past_target") and not noise[~seen].any()
    assert float(noise[seen].std()) == pytest.approx(0.2, rel=0.02) and abs(float(noise[seen].mean())) < 0.005


def test_mixing_adds_a_part_of_another_window_about_the_mean_of_both():
    window, other = changed(zoo.SPEC, 500, mix=0.4)
    assert same(window, other, "past_target", "target")
    mean = [one.inputs.past_target.mean(1) for one in (window, other)]
    torch.testing.assert_close(mean[0], mean[1], rtol=1e-3, atol=1e-3)
    whole = [torch.cat([one.inputs.past_target, one.targets.target], 1) - mean[0][:, None] for one in (window, other)]
    whole = [one / window.inputs.seasonal_error[:, None] for one in whole]
    shares = []
    for row in range(20):  # the partner is the window for which the same share explains every value
        rest = whole[1][row] - whole[0][row]
        found = whole[0] - whole[0][row]
        share = (found * rest).sum((1, 2)) / found.square().sum((1, 2)).clamp(min=1e-9)
        error = (share[:, None, None] * found - rest).abs().amax((1, 2))
        assert float(error.min()) < 1e-3
        shares.append(float(share[error.argmin()]))
    assert 0 <= min(shares) and 0.05 < max(shares) <= 0.5 + 1e-4


@pytest.mark.parametrize(("season", "jitter"), [(1, 0.3), (2, 0.25), (6, 0.15)])
def test_automatic_jitter_follows_the_better_of_the_naive_forecasts(season: int, jitter: float):
    """On a ramp the last value is 3 off at leads 1 to 5 in the mean, the last season of 2 or 6 steps 3.6 or 6."""
    data = build_data(200, past_steps=20, horizon=5, season=season, jitter="auto")
    expected = 0.3 / max(1, data.spec.season_error)
    assert data.augmentation.jitter == pytest.approx(expected, abs=1e-3) == jitter


def test_automatic_jitter_is_none_for_windows_that_continue_one_another():
    assert build_data(90, jitter="auto", lanes=2).augmentation.jitter == 0


@pytest.mark.parametrize("arguments", [{"mask": 0.3}, {"jitter": 0.1}, {"mix": 0.2}])
def test_changes_are_drawn_anew_and_again_the_same_when_resumed(arguments):
    data, resumed = (build_data(*LENGTHS, split=SPLIT, batch_size=9, seed=2, **arguments) for _ in range(2))
    plain = build_data(*LENGTHS, split=SPLIT, batch_size=9, seed=2)
    loader, again = data.train_dataloader(), resumed.train_dataloader()
    first, second = list(loader), list(loader)
    assert all(torch.equal(a.inputs.past_target, b.inputs.past_target) for a, b in zip(first, second, strict=True))
    loader.sampler.set_epoch(1)
    assert any(not torch.equal(a.inputs.past_target, b.inputs.past_target) for a, b in zip(first, loader, strict=False))
    again.load_state_dict({"epoch": 0, "position": 2})
    assert all(torch.equal(a.inputs.past_target, b.inputs.past_target) for a, b in zip(first[2:], again, strict=True))
    for stage in ("validation", "test"):
        for mine, theirs in zip(data.loaders[stage], plain.loaders[stage], strict=True):
            assert torch.equal(mine.inputs.past_target, theirs.inputs.past_target)


def test_recent_windows_are_drawn_by_their_half_life():
    counts = np.array([40, 0, 400])
    sampler = WeightedSampler(counts, counts, 200_000, 0, half_life=50)
    indices = sampler.indices(0, 0, 200_000).numpy()
    assert ((indices >= 0) & (indices < 440)).all()
    assert np.mean(indices < 40) == pytest.approx(40 / 440, abs=0.005)
    ages = 399 - (indices[indices >= 40] - 40)
    expected = 0.5 ** (np.arange(400) / 50)
    np.testing.assert_allclose(
        np.bincount(ages, minlength=400)[:200] / len(ages), (expected / expected.sum())[:200], atol=0.0015
    )
    assert sampler.indices(0, 500, 600).tolist() == indices[500:600].tolist()
    assert len(set(WeightedSampler(counts, None, 5000, 0, half_life=1e9).indices(0, 0, 5000).tolist())) > 380


def test_a_data_module_draws_recent_windows_in_every_epoch():
    data = prepare(noisy(500), past_steps=8, horizon=2, half_life=30)
    origins = torch.cat([window.origin for window in data.train_dataloader()])
    newest = int(data.examples("train", 10**6).origin.max())
    assert len(origins) == data.windows["train"] and float((newest - origins).float().median()) == pytest.approx(
        30, abs=8
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": 1.0}, "data.mask is 1.0; it must be at least 0 and less than 1"),
        ({"jitter": -0.1}, "data.jitter is -0.1; it must be at least 0"),
        ({"mix": -1}, "data.mix is -1; it must be at least 0"),
        ({"half_life": 0}, "data.half_life is 0; it must be null or a number of steps greater than 0"),
        ({"half_life": 5, "lanes": 2}, "data.half_life is 5, but data.lanes is 2"),
        ({"half_life": 5, "shuffle": False}, "data.half_life is 5, which takes windows at random"),
        ({"jitter": 0.1, "lanes": 2}, "change windows at random, but data.lanes is 2.*set them to 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        build_data(200, **change)
