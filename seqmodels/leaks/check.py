"""All leak checks in a row; what a command line runs and what a config sets."""

from collections.abc import Callable, Sequence
from typing import Any

from seqmodels.errors import require_at_least
from seqmodels.leaks.causality import causality
from seqmodels.leaks.columns import columns_as_given
from seqmodels.leaks.duplicates import twins
from seqmodels.leaks.finding import Finding
from seqmodels.leaks.probe import Probe
from seqmodels.leaks.rows import behind_training, borders, statistics_and_features
from seqmodels.window import AbstractForecaster

WINDOWS = 4  # of a batch on which a model is looked at


class LeakCheck:
    """Proves for one set of data and one model that nothing of the future reaches training, inputs or forecasts.

    ``trusted``: columns that may determine the future, such as a plan that is always kept.
    """

    def __init__(self, trusted: Sequence[str] = (), seed: int = 0):
        require_at_least(0, "leaks", seed=seed)
        self.trusted, self.seed = tuple(trusted), seed

    def run(self, make: Callable[[], Any], forecaster: AbstractForecaster) -> list[Finding]:
        """``make`` builds the DataModule, ``forecaster`` was made for its spec."""
        probe = Probe(make, self.seed)
        reread = behind_training(probe)
        windows = probe.data.examples("train", WINDOWS)
        return [
            *statistics_and_features(probe, reread),
            borders(probe, reread),
            causality(forecaster, windows.inputs),
            columns_as_given(probe, self.trusted),
            twins(probe),
        ]
