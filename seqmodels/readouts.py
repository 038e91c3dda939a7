"""Readouts: which forecasts are read from which features."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from seqmodels.window import Origins, WindowSpec


class Readout(nn.Module, ABC):
    """The same linear layer from the features of each chosen origin to H x C x P numbers.

    (B, S, D) -> (B, S, H, C, P). A layer applied at every step is the book's TimeDistributed(Dense).
    """

    every_step: bool

    def __init__(self, spec: WindowSpec, size: int, parameters: int):
        super().__init__()
        self.shape = (spec.horizon, len(spec.channels), parameters)
        self.linear = nn.Linear(size, spec.horizon * len(spec.channels) * parameters)

    @abstractmethod
    def origins(self, origins: Origins, past_steps: int) -> Origins:
        """The origins that carry a forecast, among those for which there are features."""

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features).unflatten(-1, self.shape)


class SeqToVector(Readout):
    """One forecast per window, from the features of the last step: S = 1."""

    every_step = False

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return Origins(origins.of(past_steps)[-1], origins.stride)


class SeqToSeq(Readout):
    """A forecast from every step that has features, each trained on the next H values: "forking sequences".

    Source: Géron, chapter 15; Wen et al. 2017.
    """

    every_step = True

    def origins(self, origins: Origins, past_steps: int) -> Origins:
        return origins
