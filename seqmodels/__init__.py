"""Train sequence models on your own time series, trust every number, run the result anywhere.

``import seqmodels as sm`` is light: each name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.tables.reader import read_table as read_table
    from seqmodels.backbones.base import Backbone as Backbone
    from seqmodels.cli.compare import compare as compare
    from seqmodels.cli.notebook import TrainedRun as TrainedRun
    from seqmodels.cli.notebook import fit as fit
    from seqmodels.errors import InputError as InputError
    from seqmodels.forecaster import Forecaster as Forecaster
    from seqmodels.heads.base import Head as Head
    from seqmodels.heads.point import Point as Point
    from seqmodels.inference.forecast import Forecast as Forecast
    from seqmodels.inference.forecast import TrainedModel as TrainedModel
    from seqmodels.inference.forecast import load as load
    from seqmodels.readouts.base import Readout as Readout
    from seqmodels.scalers.base import Scaler as Scaler
    from seqmodels.window import Inputs as Inputs
    from seqmodels.window import WindowSpec as WindowSpec

    __version__: str

HOMES = {
    "fit": "seqmodels.cli.notebook",
    "TrainedRun": "seqmodels.cli.notebook",
    "compare": "seqmodels.cli.compare",
    "load": "seqmodels.inference.forecast",
    "TrainedModel": "seqmodels.inference.forecast",
    "Forecast": "seqmodels.inference.forecast",
    "read_table": "datamodules.tables.reader",
    "Forecaster": "seqmodels.forecaster",
    "WindowSpec": "seqmodels.window",
    "Inputs": "seqmodels.window",
    "Backbone": "seqmodels.backbones.base",
    "Readout": "seqmodels.readouts.base",
    "Scaler": "seqmodels.scalers.base",
    "Head": "seqmodels.heads.base",
    "Point": "seqmodels.heads.point",
    "InputError": "seqmodels.errors",
}
__all__ = [*HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from seqmodels.cli.main import package_version

        return package_version()
    if name not in HOMES:
        raise AttributeError(f"module 'seqmodels' has no attribute {name!r}")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
