"""All leak checks, one after the other."""

from collections.abc import Callable, Sequence

import torch

from datamodules.base import WindowDataModule
from seqmodels.errors import require_at_least
from seqmodels.leaks.causality import check_causality
from seqmodels.leaks.columns import check_columns
from seqmodels.leaks.duplicates import check_duplicate_windows
from seqmodels.leaks.finding import Finding
from seqmodels.leaks.perturbation import Perturber
from seqmodels.leaks.pipeline import check_borders, check_statistics_and_features, perturb_behind_training
from seqmodels.window import AbstractForecaster

CAUSALITY_WINDOWS = 4  # in the batch on which a model is checked


class LeakCheck:
    """Proves for one data set and one model that nothing of the future reaches training, inputs or forecasts.

    ``trusted``: columns that may determine the future, such as a plan that is always kept.
    """

    def __init__(self, trusted: Sequence[str] = (), seed: int = 0):
        require_at_least(0, "leaks", seed=seed)
        self.trusted, self.seed = tuple(trusted), seed

    def run(self, make: Callable[[], WindowDataModule], forecaster: AbstractForecaster) -> list[Finding]:
        """Findings of all checks; ``make`` builds the DataModule whose spec ``forecaster`` was made for."""
        torch.set_flush_denormal(False)  # LAPACK needs them: otherwise it may find no singular values
        perturber = Perturber(make, self.seed)
        spec, after = perturb_behind_training(perturber)
        return [
            *check_statistics_and_features(perturber, after, spec),
            check_borders(perturber, after),
            check_causality(forecaster, perturber.data.examples("train", CAUSALITY_WINDOWS).inputs),
            check_columns(perturber.raw, perturber.data, self.trusted),
            check_duplicate_windows(perturber),
        ]
