"""Estimates of the values of the window itself, for models that fill gaps."""

from typing import Any

from torch import Tensor, nn

from seqmodels.errors import InputError
from seqmodels.readouts.base import EncodedWindow, Readout
from seqmodels.readouts.direct import SeqToVector
from seqmodels.window import WindowSpec


class InPlace(SeqToVector):
    """One linear layer estimates the values of each step from the features of this step: S = 1, H = T.

    ``corrects``: the estimate that the outputs are added to, see ``seqmodels.interpolation``: "naive" (linear
    interpolation), "seasonal" (of the values less the season), "linear" (kriging).
    """

    attends = True
    in_place = True

    def __init__(self, spec: WindowSpec, size: int, parameters: int, state: Any = None, corrects: str = "auto"):
        Readout.__init__(self, spec, size, parameters, corrects)
        if spec.kind != "past":
            raise InputError("model.readout=in_place estimates hidden values of the window: use it with data=gaps.")
        self.linear = nn.Linear(size, self.channels * parameters)

    def forward(self, encoded: EncodedWindow, teacher: Tensor | None = None) -> Tensor:
        return self.linear(encoded.all_features).unflatten(-1, (self.channels, self.parameters_per_value)).unsqueeze(1)
