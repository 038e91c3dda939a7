"""Pictures of a run: forecasts against the truth on fixed windows, and the error of each lead."""

from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqmodels.callbacks.drawing import PAST, REFERENCE, STYLE, TRUTH, Image, legend_above, render, save
from seqmodels.callbacks.drawing import MODEL as COLOUR
from seqmodels.callbacks.scalars import tensorboards
from seqmodels.metrics import ErrorTable
from seqmodels.module import MODEL, ForecastModule
from seqmodels.wording import label
