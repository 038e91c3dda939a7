"""Ridge regression on the window less its last value, fitted in closed form: the linear rival of trained networks."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqmodels.baselines.rules import Baseline
from seqmodels.errors import require_at_least
from seqmodels.features import ColumnEncoder
from seqmodels.naive import last_observed
from seqmodels.window import ONE_HOT, Category, Inputs, Sample, Statistics, Window, WindowSpec

PENALTIES = tuple(10.0**power for power in range(-6, 3))  # relative to the mean square of the features
UNCHOSEN = 1e-3  # where no validation window can decide
MOST_WINDOWS, FEWEST_WINDOWS = 50_000, 1_000  # fitted to, out of all training windows
MOST_CHOSEN = 10_000  # validation windows that decide on the penalty
MOST_PRODUCTS = 5e10  # multiplications while fitting, about two seconds of one core
MOST_SUMS = 5e7  # sums of products that are kept, of 8 bytes each
WINDOWS_PER_FEATURE = 2  # complete windows needed to fit all leads to the same ones


class Moments(NamedTuple):
    """Sums of products over windows for a group of leads: of window features s, features ahead z, and targets y."""

    windows: Tensor  # (C,)
    ss: Tensor  # (C, F, F)
    sz: Tensor  # (C, F, H, K)
    zz: Tensor  # (C, H, K, K)
    sy: Tensor  # (C, F, H)
    zy: Tensor  # (C, H, K)


class Ridge(Baseline):
    """Linear forecasts of each lead and channel, with the weights of least squares under a penalty on their size.

    The change from the last value to lead h is linear in the last ``lags`` values less the last one, the covariates at
    the origin, the statics, and the known covariates at lead h, with an intercept. Values are in units of the seasonal
    error, so that series of any size share the weights; each channel has its own. Missing values are replaced by the
    value before them. A category of more than 20 values is left out. ``lags``: None for the whole window, at most
    ``MOST_LAGS`` steps.

    Without a fit, all weights are 0: the naive forecast.

    Source: NLinear of Zeng et al., "Are transformers effective for time series forecasting?", 2023, whose weights are
    found here by ridge regression, with the penalty of each channel that is best on the validation windows.
    """

    MOST_LAGS = 512
    window_weights: Tensor
    ahead_weights: Tensor
    penalty: Tensor

    def __init__(self, spec: WindowSpec, lags: int | None = None):
        super().__init__(spec)
        if lags is not None:
            require_at_least(1, "model", lags=lags)
        self.lags = min(spec.past_steps, self.MOST_LAGS if lags is None else lags)
        self.past_columns = NarrowColumns(spec.past_covariates, spec.past_statistics, spec.categories)
        self.known_columns = NarrowColumns(spec.known_covariates, spec.known_statistics, spec.categories)
        self.static_columns = NarrowColumns(spec.statics, spec.static_statistics, spec.categories)
        at_origin = self.past_columns.width + self.known_columns.width + self.static_columns.width
        self.features = self.lags + at_origin  # F: the last value, which is 0, gives its place to the intercept
        channels, horizon, ahead = len(spec.channels), spec.horizon, self.known_columns.width
        zeros = torch.zeros(channels, self.features + ahead, horizon, dtype=torch.float64)
        self.register_buffer("window_weights", zeros[:, : self.features].clone())
        self.register_buffer("ahead_weights", zeros[:, self.features :].clone())
        self.register_buffer("penalty", torch.zeros(channels, dtype=torch.float64))

    @property
    def affordable(self) -> bool:
        """True if the fit takes seconds and less than half a gigabyte."""
        return self._sums <= MOST_SUMS and FEWEST_WINDOWS * self._sums <= 2 * MOST_PRODUCTS

    @property
    def _sums(self) -> int:
        """Number of sums of products; for each window, as many multiplications."""
        per_feature = self.features + self.spec.horizon * (1 + self.known_columns.width)
        return len(self.spec.channels) * self.features * per_feature

    def predict(self, inputs: Inputs) -> Tensor:
        window, ahead, last = self._describe(inputs)
        return self._combine(window, ahead, last, inputs, self.window_weights, self.ahead_weights)

    def fit_closed_form(self, sample: Sample) -> None:
        """Fit the weights to training windows; of ``PENALTIES``, take those with the least validation error."""
        most = int(min(MOST_WINDOWS, max(FEWEST_WINDOWS, MOST_PRODUCTS / self._sums)))
        leads = slice(0, self.spec.horizon)
        groups = [(leads, self._moments(sample("train", most), leads))]
        if self.spec.missing and groups[0][1].windows.min() < WINDOWS_PER_FEATURE * self.features:
            most = max(FEWEST_WINDOWS, most // self.spec.horizon)
            each = [slice(lead, lead + 1) for lead in range(self.spec.horizon)]
            groups = [(lead, self._moments(sample("train", most), lead)) for lead in each]
        candidates = [solve_leads([moments for _, moments in groups], penalty) for penalty in PENALTIES]
        best = self._choose(candidates, sample("validation", MOST_CHOSEN))
        for channel, place in enumerate(best.tolist()):
            self.window_weights[channel] = candidates[place][0][channel]
            self.ahead_weights[channel] = candidates[place][1][channel]
            self.penalty[channel] = PENALTIES[place]

    def _choose(self, candidates: list[tuple[Tensor, Tensor]], windows: Iterable[Window]) -> Tensor:
        """The candidate with the least mean absolute error, in units of the seasonal error, by channel: (C,) int64."""
        errors = torch.zeros(len(candidates), len(self.spec.channels), dtype=torch.float64)
        errors[PENALTIES.index(UNCHOSEN)] -= torch.finfo(torch.float64).tiny
        for inputs, targets, _ in windows:
            window, ahead, last = self._describe(inputs)
            for place, weights in enumerate(candidates):
                forecast = self._combine(window, ahead, last, inputs, *weights)[:, 0]
                error = (forecast - targets.target).abs() / inputs.seasonal_error[:, None]
                errors[place] += (error * targets.observed).double().sum(dim=(0, 1)).to(errors.device)
        return errors.argmin(dim=0)

    def _describe(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Features of the window (C, B, F), known covariates (B, H, K), and the last value (B, C); float64."""
        past, steps = inputs.past_target, inputs.past_target.shape[1]
        if self.spec.missing:
            values = last_observed(past, inputs.past_observed)
            begun = inputs.past_observed.cumsum(dim=1) > 0
            past = torch.where(begun, values, values[:, -1:])
        past = past.double()
        last, unit = past[:, -1], inputs.seasonal_error[:, None].double()
        changes = ((past[:, -self.lags : -1] - past[:, -1:]) / unit).permute(2, 0, 1)
        if steps < self.lags:  # a shorter window: before it, nothing changed
            changes = nn.functional.pad(changes, (self.lags - steps, 0))
        known = self.known_columns(inputs.known_covariates)
        origin = (
            self.past_columns(inputs.past_covariates[:, -1]),
            known[:, steps - 1],
            self.static_columns(inputs.static),
        )
        shared = torch.cat([part.double() for part in origin], dim=-1).expand(len(changes), -1, -1)
        ones = changes.new_ones(*changes.shape[:2], 1)
        return torch.cat([changes, shared, ones], dim=-1), known[:, steps:].double(), last

    def _combine(
        self, window: Tensor, ahead: Tensor, last: Tensor, inputs: Inputs, weights: Tensor, weights_ahead: Tensor
    ) -> Tensor:
        """Forecasts in the data's own units, (B, 1, H, C)."""
        change = torch.bmm(window, weights.to(window.device)).permute(1, 2, 0)
        if ahead.shape[-1]:
            change = change + torch.einsum("bhk,ckh->bhc", ahead, weights_ahead.to(window.device))
        forecast = last[:, None] + change * inputs.seasonal_error[:, None]
        return forecast.to(inputs.past_target.dtype).unsqueeze(1)

    def _moments(self, windows: Iterable[Window], leads: slice) -> Moments:
        """Sums over the windows and channels with observed values in the past and at all ``leads``."""
        total: Moments | None = None
        for inputs, targets, _ in windows:
            window, ahead, last = self._describe(inputs)
            counted = targets.observed[:, leads].all(dim=1) & inputs.past_observed.any(dim=1)
            change = (targets.target[:, leads].double() - last[:, None]) / inputs.seasonal_error[:, None].double()
            found = sum_products(window, ahead[:, leads], change, counted)
            total = found if total is None else Moments(*(a + b for a, b in zip(total, found, strict=True)))
        assert total is not None
        return total


def sum_products(window: Tensor, ahead: Tensor, change: Tensor, counted: Tensor) -> Moments:
    """Sums of products of features (C, B, F), (B, H, K) and targets (B, H, C), where ``counted`` (B, C) is True."""
    s, mask = window * counted.T[:, :, None], counted.double()
    y, transposed = change.permute(2, 0, 1), s.transpose(1, 2)
    batch, horizon, width = ahead.shape
    sz = torch.matmul(transposed, ahead.reshape(batch, horizon * width)).unflatten(-1, (horizon, width))
    zz = torch.einsum("bhk,bhj,bc->chkj", ahead, ahead, mask)
    zy = torch.einsum("bhk,bhc,bc->chk", ahead, change, mask)
    return Moments(mask.sum(dim=0), torch.bmm(transposed, s), sz, zz, torch.bmm(transposed, y), zy)


def solve_leads(groups: list[Moments], penalty: float) -> tuple[Tensor, Tensor]:
    """Weights of the window (C, F, H) and of known covariates (C, K, H), of all groups of leads together."""
    window, ahead = zip(*(solve_ridge(moments, penalty) for moments in groups), strict=True)
    return torch.cat(window, dim=-1), torch.cat(ahead, dim=-1)


def solve_ridge(moments: Moments, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights with the least squared error plus ``penalty`` times their squares; the intercept, the last, has none.

    All leads share the windows, so their features s are factorised once; known covariates of each lead enter by their
    Schur complement.
    """
    count, ss, sz, zz, sy, zy = moments
    features, (channels, horizon, width) = ss.shape[-1], zy.shape
    squares = ss.diagonal(dim1=1, dim2=2)[:, :-1].sum(dim=-1) + zz.diagonal(dim1=2, dim2=3).mean(dim=1).sum(dim=-1)
    size = squares / max(1, features - 1 + width)
    size = penalty * torch.maximum(size, 1e-9 * count).clamp(min=1e-9)
    diagonal = size[:, None].repeat(1, features)
    diagonal[:, -1] = 1e-9 * count.clamp(min=1)
    factor = torch.linalg.cholesky(ss + torch.diag_embed(diagonal))
    solved = torch.cholesky_solve(torch.cat([sy, sz.flatten(2)], dim=-1), factor)
    window, through = solved[..., :horizon], solved[..., horizon:].unflatten(-1, (horizon, width))
    if width == 0:
        return window, zy.transpose(1, 2)
    schur = zz - torch.einsum("cfhk,cfhj->chkj", sz, through)
    schur = schur + torch.diag_embed(size[:, None, None].expand(channels, horizon, width))
    rest = zy - torch.einsum("cfhk,cfh->chk", sz, window)
    ahead = torch.linalg.solve(schur, rest)
    return window - torch.einsum("cfhk,chk->cfh", through, ahead), ahead.transpose(1, 2)


class NarrowColumns(nn.Module):
    """Covariates encoded without learned weights: (..., columns) -> (..., width); wide categories are left out."""

    def __init__(self, columns: tuple[str, ...], statistics: Statistics, categories: tuple[Category, ...]):
        super().__init__()
        wide = {category.column for category in categories if len(category.values) > ONE_HOT}
        self.kept = [place for place, column in enumerate(columns) if column not in wide]
        mean, deviation = (tuple(values[place] for place in self.kept) for values in statistics[:2])
        narrow = tuple(category for category in categories if category.column not in wide)
        self.encoder = ColumnEncoder(tuple(columns[place] for place in self.kept), Statistics(mean, deviation), narrow)
        widths = {category.column: category.width for category in narrow}
        self.width = sum(widths.get(columns[place], 1) for place in self.kept)

    def forward(self, values: Tensor) -> Tensor:
        return self.encoder(values[..., self.kept]) if self.kept else values[..., :0]
