"""One prediction per window from the features of all its steps: their mean, maximum or weighted mean."""

from typing import Any

import torch
from torch import Tensor, nn

from seqmodels.errors import require_choice, require_fraction
from seqmodels.readouts.base import EncodedWindow
from seqmodels.readouts.direct import SeqToVector
from seqmodels.window import WindowSpec

KINDS = ("mean", "max", "attention")


class Pooled(SeqToVector):
    """One linear layer on the features of all steps, pooled: S = 1.

    ``pool``: "mean", "max", or "attention", a mean whose weights are a softmax over the steps of v tanh(W features).
    ``dropout``: share of the pooled features that is set to 0 in training. Steps that are only padding do not count.
    ``known_hidden`` and ``corrects``, of forecasts: as in ``Direct``.

    Source of the attention: Yang et al. 2016, section 2.2.
    """

    attends = True

    def __init__(
        self,
        spec: WindowSpec,
        size: int,
        parameters: int,
        state: Any = None,
        pool: str = "mean",
        dropout: float = 0.0,
        known_hidden: int = 32,
        corrects: str = "none",
    ):
        super().__init__(spec, size, parameters, state, known_hidden, corrects)
        require_choice(KINDS, "model.readout", pool=pool)
        require_fraction("model.readout", dropout=dropout)
        self.pool = pool
        self.dropout = nn.Dropout(dropout)
        self.score = (
            nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1)) if pool == "attention" else None
        )

    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        features, exists = encoded.all_features, encoded.exists
        mask = None if exists is None else exists.unsqueeze(-1)
        return super().forward(encoded._replace(features=self.dropout(self._pooled(features, mask).unsqueeze(1))))

    def _pooled(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """(B, steps, D) -> (B, D)."""
        if self.pool == "max":
            return (features if mask is None else features.masked_fill(~mask, -torch.inf)).amax(dim=1)
        if self.score is None:
            return features.mean(dim=1) if mask is None else (features * mask).sum(dim=1) / mask.sum(dim=1)
        score = self.score(features)
        weights = (score if mask is None else score.masked_fill(~mask, -torch.inf)).softmax(dim=1)
        return (weights * features).sum(dim=1)
