"""Categories: numbers for the values that training sees, 0 for all others, shares, and what is said about it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from data import SeriesData, integers

from datamodules.series import SeriesSet
from seqmodels.errors import InputError
from seqmodels.window import Category, check

COLOURS = ("blue", "green", "red", "white")
BLUE, GREEN, RED, WHITE = 1, 2, 3, 4


def coloured(numbers: list[int], **others) -> SeriesSet:
    """One series whose past covariate is a colour."""
    return replace(
        integers(len(numbers)),
        past_covariates=np.float32(numbers)[:, None],
        past_covariate_names=("colour",),
        categories={"colour": COLOURS},
        **others,
    )


def set_up(series: SeriesSet, **windows) -> SeriesData:
    data = SeriesData(series, **{"past_steps": 5, "horizon": 2, "split": [10, 10, 10], **windows})
    data.setup()
    return data


def test_values_that_training_does_not_see_are_unknown():
    given = [RED, RED, BLUE, 0, RED, BLUE, 0, RED, RED, RED, *[WHITE, GREEN, RED, BLUE, 0] * 4]
    data = set_up(coloured(given))
    assert data.spec.categories == (Category("colour", ("blue", "red"), (0.2, 0.6)),)  # two of ten rows have no value
    number = {RED: 2, BLUE: 1}
    assert data.series.past_covariates[:, 0].tolist() == [number.get(one, 0) for one in given]
    assert data.series.categories == {"colour": ("blue", "red")}
    assert data.spec.past_statistics == ((0.0,), (1.0,))
    assert data.series.notes == (
        "integers: column 'colour': 'green', 'white' not in the training part: unknown in 8 rows.",
    )
    for window in data.loaders["test"]:
        check(window, data.spec)
        assert set(window.inputs.past_covariates.unique().tolist()) <= {0, 1, 2}


def test_where_training_sees_all_values_nothing_changes():
    series = coloured([BLUE, GREEN, RED, WHITE, *[RED] * 26])
    data = set_up(series)
    assert data.spec.categories == (Category("colour", COLOURS, (0.1, 0.1, 0.7, 0.1)),)
    assert data.series.past_covariates is series.past_covariates and data.series.notes == ()


def test_what_comes_after_training_changes_no_number():
    before = [BLUE, RED] * 5
    one, two = (set_up(coloured([*before, *later])) for later in ([RED] * 20, [GREEN] * 20))
    assert one.spec == two.spec
    assert (one.series.past_covariates[:10] == two.series.past_covariates[:10]).all()


def test_a_value_of_the_table_that_no_row_holds_is_not_worth_a_note():
    data = set_up(coloured([BLUE, RED] * 15))
    assert data.spec.categories[0].values == ("blue", "red") and data.series.notes == ()


def test_of_many_unknown_values_the_first_are_named():
    values = tuple(f"shop {number}" for number in range(9))
    series = coloured([1] * 10 + [2, 3, 4, 5, 6, 7, 8, 9, 9, 9] * 2)
    data = set_up(replace(series, categories={"colour": values}))
    (note,) = data.series.notes
    assert note.endswith("'shop 1', 'shop 2', 'shop 3' and 5 more not in the training part: unknown in 20 rows.")


def test_a_static_category_counts_series():
    regions = np.float32([[1, 5], [2, 6], [1, 7], [3, 8], [3, 9]])
    series = replace(
        integers(*[30] * 5), static=regions, static_names=("region", "size"), categories={"region": COLOURS[:3]}
    )
    data = set_up(series, split=[3, 1, 1], split_by="series")
    assert data.spec.categories == (Category("region", ("blue", "green"), (2 / 3, 1 / 3)),)
    assert data.spec.static_statistics.mean == (0.0, 6.0) and data.spec.static_statistics.deviation[0] == 1.0
    assert data.series.notes == ("integers: column 'region': 'red' not in the training part: unknown in 2 series.",)
    for window in data.loaders["test"]:
        assert torch.equal(window.inputs.static, torch.tensor([[0.0, 9.0]]).expand(len(window.origin), 2))


def test_a_column_without_a_value_in_training_is_refused():
    with pytest.raises(InputError, match=r"column 'colour' has no value in the training part \(data\.split\)"):
        set_up(coloured([*[0] * 10, *[RED] * 20]))


def test_the_calendar_of_the_training_part_decides_what_is_known():
    time = np.datetime64("2020-01-06", "us") + np.arange(150) * np.timedelta64(1, "D")
    data = set_up(replace(integers(150), time=time), split=[60, 45, 45], calendar=["month:category"])
    assert data.spec.categories[0].values == ("January", "February", "March")
    assert data.spec.categories[0].shares == pytest.approx((26 / 60, 29 / 60, 5 / 60))
    assert data.series.notes == (
        "integers: data.calendar: 'month': 'April', 'May', 'June' not in the training part: unknown in 64 rows.",
    )
