"""Table of the recorded experiments: command, published figure, and the limit that ours must reach."""

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the results: ``python train.py experiment=<experiment> <overrides>`` for each seed.

    ``limit`` applies to the median over the seeds, or to the best of them if the source also kept the best, on the
    validation windows of the source. ``printed`` is the figure of the source, None if it has none.
    """

    experiment: str
    model: str
    limit: float
    printed: float | None = None
    overrides: tuple[str, ...] = ()
    metric: str = "mae"  # a column of the result table, or a name in protocols.PROTOCOLS
    statistic: str = "median"  # or best
    stage: str = "validation"
    channel: str = "all"  # or the name of one of several targets
    note: str = ""
    trained: bool = True  # if False, there is one figure, and it is exact

    @property
    def name(self) -> str:
        """Unique name, also the one of the test case."""
        return f"{self.experiment}-{self.model.replace(' ', '_')}"

    @property
    def files(self) -> tuple[str, ...]:
        """Files of its data, in the folder of real data."""
        return FILES.get(self.experiment, FILES.get(self.experiment.split("/")[0], ()))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return (0, 1, 2) if self.trained else (0,)

    @property
    def command(self) -> str:
        """Command for one seed, with the file of the data set in the current directory."""
        data = data_settings([file.rpartition("/")[2] for file in self.files])
        return " ".join(["python train.py", f"experiment={self.experiment}", *self.overrides, *data])


def data_settings(paths: Sequence[object]) -> list[str]:
    """Files of the data as settings: one, several after one another, or one to train and one to test.

    Or one with gaps and one with the truth.
    """
    if len(paths) == 2 and str(paths[1]).endswith("_TEST.ts"):
        return [f"data.path={paths[0]}", f"data.test_path={paths[1]}"]
    if len(paths) == 2 and "Complete." in str(paths[1]):
        return [f"data.path={paths[0]}", f"data.truth={paths[1]}"]
    return [f"data.path={paths[0] if len(paths) == 1 else format_list(paths)}"] if paths else []


def format_list(names: Sequence[object]) -> str:
    """Names as a list in the syntax of Hydra."""
    return f"[{','.join(map(str, names))}]"


# Files of the data sets, relative to the folder of real data; the others are generated
FILES: dict[str, tuple[str, ...]] = {
    "ridership": ("ridership/ridership.csv",),
    "sunspots": ("sunspots/sunspots.csv",),
    "temperatures": ("temperatures/daily-min-temperatures.csv",),
    "m4": ("m4_hourly/Hourly-train.csv", "m4_hourly/Hourly-test.csv"),
    "etth1": ("etth1/ETTh1.csv",),
    "bike_sharing": ("bike_sharing/hour.csv",),
    "air_quality": ("air_quality/beijing_pm25.csv",),
    "stallion": ("panel/stallion.parquet",),
    "sequences/chorales": ("classification/jsb_chorales.tgz",),
    **{
        f"sequences/{experiment}": (f"classification/{name}_TRAIN.ts", f"classification/{name}_TEST.ts")
        for experiment, name in (
            ("japanese_vowels", "JapaneseVowels"),
            ("gun_point", "GunPoint"),
            ("basic_motions", "BasicMotions"),
            ("italy_power_demand", "ItalyPowerDemand"),
        )
    },
    "imputation": ("ridership/ridership.csv",),
    "imputation/air_passengers": ("imputation/tsAirgap.csv.gz", "imputation/tsAirgapComplete.csv.gz"),
    "imputation/ammonium": ("imputation/tsNH4.csv.gz", "imputation/tsNH4Complete.csv.gz"),
}
TITLES = {
    "waves": "Two-sine waves (Géron, 2nd ed., chapter 15): MSE",
    "ridership": "Chicago ridership (Géron, 3rd ed., chapter 15): MAE in rides a day",
    "trend_season": "Trend, season and noise (Moroney, weeks 1 to 4): MAE; the noise alone is 3.989",
    "udacity": "The same series in Udacity's lesson 8: MAE",
    "exercises": "Exercises of the course: MAE; the noise alone is 1.596 (week 1) and 2.394 (weeks 2 and 3)",
    "sunspots": "Monthly sunspots (Moroney, week 4): MAE",
    "temperatures": "Daily minimum temperatures (Moroney, exercise of week 4): MAE in degrees",
    "m4": "M4 hourly, 48 steps of 414 series: MASE on the test of the competition",
    "etth1": "ETTh1, 96 hours of seven channels: MSE in units of the training variance, on all test windows",
    "bike_sharing": "Bike sharing, 24 hours: MAE in bikes an hour, on the test windows",
    "air_quality": "Fine dust in Beijing, 24 hours: MAE in micrograms per cubic metre, on the test windows",
    "sequences": "Sequences: wrong test predictions in per cent; naive is the nearest by time warping, if not noted",
    "imputation": "Hidden values: MAE in the data's own units, naive is linear interpolation",
    "stallion": "Stallion, 6 months of 350 series: MAE in hectolitres, on the test windows",
}

STEPS = "waves/seq_to_seq"
DAYS = "ridership/fourteen_steps"
FEW_EPOCHS = "printed after 5 epochs, see below"
WEEKLY = 0.85 * 39_756  # 15 % less than the weekly naive forecast, 14 days ahead
COPY = "printed in a copy of the course's notebook"

WAVES = [
    Row("waves/naive_one_step", "naive", 0.0202114, 0.0202114, metric="mse", trained=False),
    Row("waves/linear_one_step", "linear", 0.00302, 0.0041681, metric="mse", note="least squares: 0.0029311"),
    Row("waves/rnn_one_unit", "rnn", 0.0109, 0.0108816, metric="mse", note="here with a linear output"),
    Row("waves/one_step_recurrent_output", "rnn", 0.0029, 0.0029106, metric="mse", note="then a weight and a bias"),
    Row("waves/one_step", "rnn", 0.0026, 0.0026236, metric="mse"),
    Row("waves/naive_ten_steps", "naive", 0.2569741, 0.2569741, metric="mse", trained=False),
    Row("waves/iterated", "rnn", 0.0110, 0.0275109, metric="mse", note="printed on another step size, see below"),
    Row("waves/linear", "linear", 0.015488 * 1.03, 0.0187, metric="mse", note="least squares: 0.015488"),
    Row("waves/ten_steps", "rnn", 0.0040, 0.0085, metric="mse"),
    Row(STEPS, "rnn", 0.0070, 0.0096, ("model=rnn",), metric="mse"),
    Row("waves/rnn_batch_norm", "rnn", 0.0110, 0.0164, metric="mse"),
    Row(STEPS, "layer_norm_rnn", 0.0080, 0.0121, ("model=layer_norm_rnn",), metric="mse"),
    Row(STEPS, "lstm", 0.0042, 0.0085608, ("model=lstm",), metric="mse"),
    Row(STEPS, "gru", 0.0050, 0.0102628, ("model=gru",), metric="mse"),
    Row(STEPS, "layer_norm_lstm", 0.0030, None, ("model=layer_norm_lstm",), metric="mse"),
    Row(STEPS, "layer_norm_gru", 0.0033, None, ("model=layer_norm_gru",), metric="mse"),
    Row(STEPS, "conv_gru", 0.0040, 0.0080, ("model=conv_gru",), metric="mse"),
    Row(STEPS, "wavenet", 0.0052, 0.0072, ("model=wavenet",), metric="mse"),
    Row(STEPS, "wavenet_gated", 0.0028, None, ("model=wavenet_gated",), metric="mse", note="printed 0.1189, see below"),
]
RIDERSHIP = [
    Row("ridership/seasonal_naive", "rail", 41_274.3, 41_274.3, trained=False),
    Row("ridership/seasonal_naive", "bus", 43_441.6, 43_441.6, ("data.target=[bus]",), trained=False),
    Row("ridership/seasonal_naive", "rail 14 days", 39_756.0, None, ("data.horizon=14",), trained=False),
    Row("ridership/linear", "linear", 38_119.4, 37_866.4, statistic="best", note="least squares: 38,119"),
    Row("ridership/rnn_one_unit", "rnn", 41_274.3, 102_787, statistic="best", note="corrects the weekly naive one"),
    Row("ridership/rnn", "rnn", 28_500, 29_015, statistic="best"),
    Row("ridership/one_step", "rnn", 28_500, 29_015, ("model=rnn",), statistic="best"),
    Row("ridership/one_step", "lstm", 28_500, None, ("model=lstm",), statistic="best"),
    Row("ridership/one_step", "gru", 28_500, None, ("model=gru",), statistic="best"),
    Row("ridership/deep_rnn", "rnn", 28_500, 29_272.9, statistic="best", note="3rd ed.: 31,211"),
    Row("ridership/multivariate", "rnn", 21_300, 22_062.3, statistic="best"),
    Row("ridership/multi_task", "rnn rail", 25_000, 25_330, statistic="best", channel="rail_boardings"),
    Row("ridership/multi_task", "rnn bus", 26_369, 26_369, statistic="best", channel="bus"),
    Row("ridership/fourteen_steps_direct", "lstm", 29_000, 32_950.7, statistic="best", note="rail alone"),
    Row("ridership/fourteen_steps_multivariate", "rnn", 32_950.7, 32_950.7, statistic="best", note="3rd ed.: 35,017"),
    Row("ridership/every_step", "rnn", 30_500, 31_385, statistic="best"),
    Row(DAYS, "lstm", 30_000, None, ("model=lstm",), statistic="best", note=FEW_EPOCHS),
    Row(DAYS, "gru", WEEKLY, None, ("model=gru",), statistic="best", note=FEW_EPOCHS),
    Row(DAYS, "layer_norm_rnn", WEEKLY, None, ("model=layer_norm_rnn",), statistic="best", note=FEW_EPOCHS),
    Row(f"{DAYS}_conv_gru", "conv_gru", WEEKLY, statistic="best", note=FEW_EPOCHS),
    Row(DAYS, "wavenet", WEEKLY, None, ("model=wavenet",), statistic="best", note=FEW_EPOCHS),
]
AVERAGE = "differenced_moving_average"
COURSE = [
    Row("trend_season/naive", "naive", 5.9379, 5.9379, trained=False),
    Row("trend_season/moving_average", "moving_average", 7.1424, 7.1424, trained=False),
    Row(f"trend_season/{AVERAGE}", AVERAGE, 5.8393, 5.8393, trained=False),
    Row(f"trend_season/{AVERAGE}", "smoothed by 10", 4.5694, 4.5694, ("model.smooth=10",), trained=False),
    Row(f"trend_season/{AVERAGE}", "smoothed by 11", 4.5669, 4.5669, ("model.smooth=11",), trained=False),
    Row("trend_season/linear", "linear", 5.05, 5.1111, note="least squares: 4.9549"),
    Row("trend_season/dense", "mlp", 5.1055, 5.1055),
    Row("trend_season/rnn", "rnn", 5.33, 6.400, note=COPY),
    Row("trend_season/bidirectional_lstm", "bidirectional_lstm", 5.37, 5.367, note=COPY),
    Row("trend_season/conv_lstm", "conv_lstm", 5.00, 5.0067),
    Row("trend_season/calendar", "linear", 4.56, None, note="knows the season's length"),
    Row("udacity/linear", "linear", 5.05, 5.001, note="least squares: 4.9900"),
    Row("udacity/dense", "mlp", 5.20, 4.913, note=COPY),
    Row("udacity/rnn", "rnn", 5.33, 5.328, note=COPY),
    Row("udacity/every_step", "rnn", 5.459, 5.459, note=COPY),
    Row("udacity/stateful_rnn", "rnn", 5.862, 5.862, note=COPY),
    Row("udacity/stateful_lstm", "lstm", 5.784, 5.784, note=COPY),
    Row("udacity/conv_lstm", "conv_lstm", 5.10, None),
    Row("udacity/fully_convolutional", "wavenet", 5.30, None),
    Row("exercises/week_1", AVERAGE, 2.3272, 2.3272, trained=False),
    Row("exercises/week_1", "smoothed by 10", 2.2034, 2.2034, ("model.smooth=10",), trained=False),
    Row("exercises/week_2", "mlp", 3.10, 3.046, note=COPY + "; least squares: 3.1803"),
    Row("exercises/week_3", "bidirectional_lstm", 3.10, 2.896, note=COPY),
]
MEASURED = [
    Row("sunspots/naive", "naive", 16.1362, 16.1362, trained=False),
    Row("sunspots/linear", "linear", 14.77, None, note="least squares: 14.767"),
    Row("sunspots/dense", "mlp", 14.77, 15.0820),
    Row("sunspots/conv_lstm", "conv_lstm", 14.77, 15.4007),
    Row("temperatures/naive", "naive", 2.0112, 2.0112, trained=False),
    Row("temperatures/conv_lstm", "conv_lstm", 1.78, 1.780626, note="least squares: 1.8009"),
]
# Without a comparable published figure, the limit is the better of the naive forecasts on the same test windows.
AS_IT_IS = [
    Row("m4/hourly", "conv_gru", 0.85, 0.893, metric="M4 MASE", stage="test", note="printed: the competition's winner"),
    Row(
        "etth1/long_horizon",
        "conv_gru",
        0.365,
        0.386,
        metric="scaled MSE",
        stage="test",
        note="printed: DLinear; the recipe is one of four that were compared on the test too",
    ),  # fmt: skip
    Row("ridership/day_type", "rnn", 60_159, stage="test", note="test: June 2019 to February 2020"),
    Row("bike_sharing/hourly", "conv_gru", 69.48, stage="test"),
    Row("air_quality/hourly", "conv_gru", 44.36, stage="test"),
    Row("stallion/volume", "gru", 293.0, stage="test"),
    *(
        Row(f"sequences/{name}", "classifier", limit, None, metric="wrong labels", stage="test", note=note)
        for name, limit, note in (
            ("japanese_vowels", 1.5, "12 channels of 7 to 29 steps, 270 to train and choose"),
            ("gun_point", 9.3, "150 steps, 50 to train and choose; limit: 1-NN by time warping with all 50"),
            ("basic_motions", 0.0, "6 channels of 100 steps, 40 to train and choose"),
            ("italy_power_demand", 5.0, "24 steps, 67 to train and choose; limit: 1-NN by time warping with all 67"),
        )
    ),
    *(
        Row(f"imputation/{name}", "fill", limit, None, stage="test", note=note)
        for name, limit, note in (
            ("air_passengers", 4.366, "13 of 144 values; limit: Kalman smoothing with a structural model"),
            ("ammonium", 1.015, "883 of 4,552 values; limit: 0.75 of linear interpolation"),
            ("ridership_random", 41_944, "20 % one by one; limit: kriging of each channel by itself"),
            ("ridership_blocks", 50_316, "20 % in blocks of 14 days; limit: kriging of each channel by itself"),
        )
    ),
    Row(
        "sequences/chorales",
        "symbols",
        17.5,
        18.36,
        metric="wrong symbols",
        stage="test",
        note="1,067 windows of 131 next notes; naive: the note four steps back",
    ),  # fmt: skip
    Row(
        "sequences/reber",
        "classifier",
        0.0,
        0.0,
        metric="wrong symbols",
        stage="test",
        note="2,000 strings; naive: the most frequent class; printed: on the validation strings",
    ),  # fmt: skip
]
ROWS = [*WAVES, *RIDERSHIP, *COURSE, *MEASURED, *AS_IT_IS]

TRAPS = (
    "Iterated forecast of the waves, printed 0.0275: the network was trained on steps of 1/50 and run on steps of 1/59;"
    " with one step size even least squares gives 0.0157. Here both have the same.",
    "Naive forecast of the waves ten steps ahead, often quoted as 0.223: it repeated the last target, which lies in the"
    " future; the last known value gives 0.257.",
    "Linear regression on the waves, printed 0.0042 and 0.0187: training ended too early; least squares gives 0.0029"
    " and 0.0155.",
    "Gated WaveNet on the waves, printed 0.1189: its last layer is a softmax, whose outputs cannot be negative.",
    "Simple RNN whose output layer is one more RNN unit, printed 102,787 on the ridership: tanh bounds the forecast to"
    " (-1, 1); here a weight and a bias follow, as in every model.",
    "Layer normalisation, LSTM, GRU, convolution + GRU and WaveNet on the ridership, printed 95,349 to 171,689: after"
    " 2 to 5 epochs, all worse than the weekly naive forecast.",
    "WaveNet on the ridership in PyTorch, printed 140,761 after 150 epochs: it never learned; that is what a constant"
    " gives.",
    "Forecasts at every step of the ridership, printed 45,929: the mean over all steps, also those at the beginning of"
    " the window; the last step alone gives 31,385.",
    "Seasonal naive forecast of the ridership, printed 42,143 and 43,916: on 92 days, where the networks have 95; on"
    " the same 95 it gives 41,274 and 43,442.",
    "Bidirectional LSTM of the course, printed 8.51: one bad run; copies of the notebook print 5.37 and 5.67.",
)
