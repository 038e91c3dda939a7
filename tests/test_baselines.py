"""The differenced moving average against plain loops, with holes, and what it refuses."""

import pytest
import torch
import zoo

from seqmodels.baselines.rules import DifferencedMovingAverage
from seqmodels.errors import InputError


def by_hand(values: list[float | None], past: int, season: int, steps: int, smooth: int, lead: int) -> float:
    """The forecast ``lead`` steps after the last of ``past`` values, None where not observed."""
    pairs = [(values[i], values[i - season]) for i in range(past - steps, past)]
    changes = [now - before for now, before in pairs if now is not None and before is not None]
    centre = past - 1 + lead - season
    around = [values[i] for i in range(centre - smooth // 2, centre - smooth // 2 + smooth)]
    kept = [value for value in around if value is not None]
    if not kept:
        return next(value for value in reversed(values[:past]) if value is not None)
    return sum(kept) / len(kept) + (sum(changes) / len(changes) if changes else 0.0)


@pytest.mark.parametrize(("season", "steps", "smooth"), [(5, 7, 1), (8, 12, 3), (8, 4, 4), (6, 1, 3)])
@pytest.mark.parametrize("name", ["plain", "rich"])
def test_it_is_last_season_plus_the_mean_change(name, season, steps, smooth):
    spec = zoo.SPECS[name]
    inputs = zoo.window(spec, batch=40).inputs
    forecast = DifferencedMovingAverage(spec, season, steps, smooth)(inputs).forecast
    assert forecast.shape == (40, 1, 3, 2, 1)
    for window in range(40):
        for channel in range(2):
            past, seen = inputs.past_target[window, :, channel], inputs.past_observed[window, :, channel]
            values = [float(value) if known else None for value, known in zip(past, seen, strict=True)]
            expected = [by_hand(values, 20, season, steps, smooth, lead) for lead in (1, 2, 3)]
            torch.testing.assert_close(forecast[window, 0, :, channel, 0], torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_without_settings_it_uses_the_season_of_the_data_and_all_differences():
    model = DifferencedMovingAverage(zoo.SPEC)
    assert (model.season, model.steps, model.smooth) == (4, 16, 1)
    line = torch.arange(20.0)[None, :, None].expand(3, -1, 2)  # a trend is continued exactly
    forecast = model(zoo.window(zoo.SPEC).inputs._replace(past_target=line)).forecast
    torch.testing.assert_close(forecast[0, 0, :, 0, 0], torch.tensor([20.0, 21.0, 22.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"season": 0}, "model.season is 0; it must be at least 1"),
        ({"smooth": 0}, "model.smooth is 0; it must be at least 1"),
        ({"season": 20}, "need 20 past steps and at least one difference; data.past_steps is 20"),
        ({"steps": 17}, "need 21 past steps and at least one difference; data.past_steps is 20"),
        ({"season": 2}, "model.season is 2; it must be at least 3 for data.horizon=3 and model.smooth=1"),
        ({"smooth": 5}, "model.season is 4; it must be at least 5 for data.horizon=3 and model.smooth=5"),
    ],
)
def test_it_refuses_what_does_not_lie_within_the_window(settings, message):
    with pytest.raises(InputError, match=message):
        DifferencedMovingAverage(zoo.SPEC, **settings)
