"""Labels of whole sequences: laws, losses and measures against formulas, reading, splits, and a trained classifier."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from data import real

import seqmodels as sm
from datamodules.labelled import append, read_sequences, stratified_order
from datamodules.sequences import Sequences
from datamodules.tables.ts_file import read_ts
from datamodules.windows.samplers import BucketSampler
from seqmodels.baselines.labels import NearestNeighbour, Prior, warping
from seqmodels.class_metrics import ClassScores, ClassTable
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.classes import Classes
from seqmodels.heads.point import Point
from seqmodels.readouts.direct import SeqToSeq, SeqToVector
from seqmodels.readouts.pooled import KINDS, Pooled
from seqmodels.window import Inputs, Statistics, Targets, WindowSpec, check

LENGTHS = (5, 12, 9, 1, 12, 7)
SPEC = zoo.LABELLED._replace(past_steps=12)
READOUTS = {"last": SeqToVector, **{kind: partial(Pooled, pool=kind) for kind in KINDS}}
WHOLE_WINDOW = ("linear", "mlp")  # these read windows of one length only


def bidirectional_steps(name: str) -> partial:
    return partial(zoo.BACKBONES[name], every_step=True)


def readable(backbone: str, readout: str) -> bool:
    """True if the pair takes sequences of different length, each of which has a step that the backbone can start at."""
    made = zoo.STATED[backbone]
    return made.offset == 0 and backbone not in WHOLE_WINDOW and (made.causal or made.reads_lengths)


PAIRS = [(backbone, readout) for backbone in zoo.BACKBONES for readout in READOUTS if readable(backbone, readout)]
PAIRS.remove(("inception", "last"))  # a step that has little ahead of it
PAIRS += [(backbone, readout) for backbone in ("bidirectional_lstm", "bidirectional_gru") for readout in READOUTS]


def build(backbone: str, readout: str, spec: WindowSpec = SPEC, scaler: str = "standard", seed: int = 0) -> Forecaster:
    torch.manual_seed(seed)
    made = zoo.BACKBONES[backbone]
    if backbone.startswith("bidirectional") and readout != "last":
        made = bidirectional_steps(backbone)
    head = Classes() if any(spec.classes) else Point()
    return Forecaster(spec, zoo.SCALERS[scaler], made, READOUTS[readout], head).eval()


def batch(spec: WindowSpec = SPEC, lengths: tuple[int, ...] = LENGTHS, extra: int = 0) -> tuple[Inputs, Targets]:
    """Random sequences of these lengths, padded on the right with noise that must not matter."""
    random = torch.Generator().manual_seed(1)
    steps = max(lengths) + extra
    zeros = spec._replace(past_steps=steps).zeros(len(lengths))
    observed = (torch.arange(steps) < torch.tensor(lengths)[:, None])[..., None].expand(-1, -1, len(spec.channels))
    values = torch.randn(len(lengths), max(lengths), len(spec.channels), generator=random)
    wind = torch.randn(len(lengths), max(lengths), 1, generator=random)
    pad = (0, 0, 0, extra)
    inputs = zeros._replace(
        past_target=torch.nn.functional.pad(values, pad) * observed,
        past_observed=observed,
        past_covariates=torch.nn.functional.pad(wind, pad, value=7.0),
        static=torch.randn(len(lengths), 1, generator=random),
    )
    labels = torch.stack([torch.randint(1, 4, (len(lengths),)), torch.randint(1, 3, (len(lengths),))], 1)
    return inputs, Targets(labels.float()[:, None], torch.ones(len(lengths), 1, 2, dtype=torch.bool))


def alone(inputs: Inputs, index: int, length: int) -> Inputs:
    """One sequence without padding."""
    one = Inputs(*(field[index : index + 1] for field in inputs))
    names = ("past_target", "past_observed", "past_covariates", "known_covariates")
    return one._replace(**{name: getattr(one, name)[:, : length + (name == "known_covariates")] for name in names})


@pytest.mark.parametrize(("backbone", "readout"), sorted(set(PAIRS)))
def test_padding_changes_nothing(backbone, readout):
    model = build(backbone, readout)
    with torch.no_grad():
        together = model(batch()[0]).forecast
        wider = model(batch(extra=4)[0]).forecast
        single = [model(alone(batch()[0], i, length)).forecast for i, length in enumerate(LENGTHS)]
    assert together.shape == (len(LENGTHS), 1, 1, 2, 3)
    torch.testing.assert_close(together, torch.cat(single), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, wider, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scaler", ["standard", "window_mean", "window_last", "difference"])
def test_padding_changes_nothing_whatever_the_scaler(scaler):
    model = build("gru", "mean", scaler=scaler)
    with torch.no_grad():
        single = [model(alone(batch()[0], i, length)).forecast for i, length in enumerate(LENGTHS)]
        torch.testing.assert_close(model(batch(extra=3)[0]).forecast, torch.cat(single), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["gru", "tcn", "bidirectional_lstm", "inception"])
def test_the_order_of_a_batch_changes_nothing(backbone):
    model, (inputs, targets) = build(backbone, "attention"), batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = Inputs(*(field[order] for field in inputs))
    with torch.no_grad():
        torch.testing.assert_close(model(inputs).forecast[order], model(shuffled).forecast, atol=1e-6, rtol=1e-5)
        losses = [model.loss(inputs, targets).loss, model.loss(shuffled, Targets(*(t[order] for t in targets))).loss]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("backbone", ["bidirectional_gru", "inception"])
def test_gradients_do_not_see_padding(backbone):
    model, (inputs, targets) = build(backbone, "attention").train(), batch(extra=5)
    values = inputs.past_target.clone().requires_grad_()
    model.loss(inputs._replace(past_target=values), targets).loss.backward()
    assert (values.grad[~inputs.past_observed] == 0).all()
    assert (values.grad[inputs.past_observed] != 0).any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, {"x": 1.0, "y": 3.0, "z": 0.5}, "balanced"])
def test_the_loss_is_the_cross_entropy_of_torch(weights, smoothing):
    spec = SPEC._replace(labels=("kind",), categories=SPEC.categories[:1], label_statistics=Statistics((0.0,), (1.0,)))
    head = Classes(class_weights=weights, label_smoothing=smoothing)
    head.bind(spec)
    logits, target = torch.randn(8, 1, 1, 1, 3), torch.randint(1, 4, (8, 1, 1, 1)).float()
    shares = torch.tensor([0.5, 0.3, 0.2])
    own = {"balanced": 1 / shares, None: torch.ones(3)}.get(weights if not isinstance(weights, dict) else "", None)
    own = torch.tensor([1.0, 3.0, 0.5]) if own is None else own
    own = own / (own * shares).sum()
    truth = target.flatten().long() - 1
    smooth = torch.nn.functional.one_hot(truth, 3) * (1 - smoothing) + smoothing / 3
    expected = torch.nn.functional.cross_entropy(logits.reshape(8, 3), smooth, reduction="none") * own[truth]
    torch.testing.assert_close(head.loss(head(logits), target).flatten(), expected)


def test_each_label_has_its_own_classes():
    head = Classes()
    head.bind(SPEC)
    shares = head.report(head(torch.randn(5, 1, 1, 2, 3)))
    torch.testing.assert_close(shares.sum(-1), torch.ones(5, 1, 1, 2))
    assert (shares[..., 1, 2] == 0).all()  # mood has two classes
    drawn = head.sample(head(torch.randn(5, 1, 1, 2, 3)), 200)
    assert drawn.shape == (200, 5, 1, 1, 2)
    assert set(drawn[..., 1].unique().tolist()) <= {1, 2}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"w": 2}, "holds 'w', which is no class; the classes are x, y, z"),
        ({"x": 0}, "a weight that is not greater than 0"),
        ("even", "must be null, balanced, or a number for each class"),
    ],
)
def test_class_weights_are_checked(weights, message):
    spec = SPEC._replace(labels=("kind",), categories=SPEC.categories[:1])
    with pytest.raises(InputError, match=message):
        Classes(class_weights=weights).bind(spec)


@pytest.mark.parametrize(
    ("spec", "backbone", "readout", "head", "message"),
    [
        (SPEC, "gru", SeqToSeq, Classes, "or model/readout=seq_to_vector or pooled"),
        (SPEC, "gru", SeqToVector, Point, "data.label=kind names classes; use model=classifier"),
        (zoo.SPEC, "gru", SeqToVector, Classes, "name the column of labels in data.label"),
        (
            SPEC,
            "inception",
            SeqToVector,
            Classes,
            "takes the last one, that has little ahead; use model/readout=pooled",
        ),
        (SPEC, "bidirectional_gru", Pooled, Classes, "a bidirectional one: model.backbone.every_step=true"),
        (SPEC, "linear", SeqToVector, Classes, "these sequences differ in length; use a recurrent or convolutional"),
        (SPEC, "conv_bidirectional_gru", SeqToVector, Classes, "does not know where a sequence ends"),
    ],
)
def test_parts_that_do_not_fit_are_refused(spec, backbone, readout, head, message):
    with pytest.raises(InputError, match=message):
        Forecaster(spec, zoo.SCALERS["standard"], zoo.BACKBONES[backbone], readout, head())


def test_a_spec_with_labels_survives_a_checkpoint():
    assert WindowSpec.from_dict(SPEC.to_dict()) == SPEC


def by_hand(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Measures by their textbook formulas."""
    chosen, classes = probabilities.argmax(1), range(probabilities.shape[1])
    recall = [(chosen[truth == k] == k).mean() for k in classes if (truth == k).any()]
    f1 = [2 * ((chosen == k) & (truth == k)).sum() / ((chosen == k).sum() + (truth == k).sum()) for k in classes]
    areas = []
    for k in classes:
        positive, negative = probabilities[truth == k, k], probabilities[truth != k, k]
        areas.append(((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)).mean())
    confidence, error = probabilities.max(1), 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - (chosen == truth)[inside].mean())
    return {
        "accuracy": (chosen == truth).mean(),
        "balanced_accuracy": np.mean(recall),
        "macro_f1": np.mean(f1),
        "auroc": np.mean(areas),
        "log_loss": -np.log(probabilities[np.arange(len(truth)), truth]).mean(),
        "calibration_error": error,
    }


def test_measures_agree_with_their_formulas():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([1, 2, 1], 300).astype(np.float32)
    truth = random.integers(0, 3, 300)
    table = ClassTable(
        torch.from_numpy(probabilities)[:, None], torch.from_numpy(truth + 1)[:, None], torch.arange(300), (3,)
    )
    assert table.summary() == pytest.approx(by_hand(probabilities, truth), abs=1e-5)


def test_what_has_no_probabilities_has_no_log_loss():
    certain = torch.nn.functional.one_hot(torch.tensor([0, 1, 1]), 2).float()[:, None]
    measured = ClassTable(certain, torch.tensor([[1], [2], [1]]), torch.arange(3), (2,), certain=True).summary()
    assert measured["accuracy"] == pytest.approx(2 / 3)
    assert all(math.isnan(measured[name]) for name in ("log_loss", "auroc", "calibration_error"))


def test_unknown_classes_are_not_counted():
    spec = SPEC._replace(labels=("mood",), categories=SPEC.categories[1:], label_statistics=Statistics((0.0,), (1.0,)))
    scores = ClassScores(spec)
    inputs = spec.zeros(3)
    given = torch.tensor([[[[0.9, 0.1]]], [[[0.2, 0.8]]], [[[0.9, 0.1]]]])
    scores.update(
        given, inputs, Targets(torch.tensor([[[1.0]], [[2.0]], [[0.0]]]), torch.ones(3, 1, 1, dtype=torch.bool))
    )
    assert scores.windows == 3
    assert scores.results().summary()["accuracy"] == 1


def plain_warping(first: np.ndarray, second: np.ndarray) -> float:
    cost = np.full((len(first) + 1, len(second) + 1), np.inf)
    cost[0, 0] = 0
    for i in range(len(first)):
        for j in range(len(second)):
            step = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = np.sum((first[i] - second[j]) ** 2) + step
    return cost[-1, -1]


def test_warping_is_the_dynamic_programme():
    random = torch.Generator().manual_seed(0)
    first, second = torch.randn(9, 8, 2, generator=random), torch.randn(9, 11, 2, generator=random)
    lengths, others = torch.tensor([8, 1, 5, 8, 3, 2, 7, 8, 6]), torch.tensor([11, 11, 4, 1, 9, 2, 11, 10, 3])
    expected = [
        plain_warping(a[:n].numpy(), b[:m].numpy()) for a, b, n, m in zip(first, second, lengths, others, strict=True)
    ]
    np.testing.assert_allclose(warping(first, second, lengths, others).numpy(), expected, rtol=1e-5)


def table(count: int = 60, seed: int = 0, classes: tuple[str, ...] = ("falls", "rises")) -> pl.DataFrame:
    """Noisy lines of 8 to 20 steps, one row per step: the label says whether they rise."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        steps, label = int(random.integers(8, 21)), index % 2
        line = (1 if label else -1) * np.arange(steps) / 10 + random.normal(0, 0.1, steps)
        rows.append(
            pl.DataFrame(
                {
                    "name": [f"s{index:03}"] * steps,
                    "a": line,
                    "b": random.normal(size=steps),
                    "trend": [classes[label]] * steps,
                    "slope": [(-0.1, 0.1)[label] + index / 1e4] * steps,
                }
            )  # fmt: skip
        )
    return pl.concat(rows)


def lists(long: pl.DataFrame) -> pl.DataFrame:
    return long.group_by("name", maintain_order=True).agg("a", "b", pl.col("trend", "slope").first())


def write_archive(long: pl.DataFrame, path: Path) -> Path:
    rows = [
        ":".join([*(",".join(map(repr, row[name])) for name in ("a", "b")), row["trend"]])
        for row in lists(long).to_dicts()
    ]
    head = "# a comment\n@problemName lines\n@univariate false\n@dimensions 2\n@classLabel true falls rises\n@data\n"
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def test_a_long_table_lists_and_an_archive_are_the_same(tmp_path):
    long = table()
    lists(long).write_parquet(tmp_path / "lists.parquet")
    columns = {"target": ["a", "b"], "label": "trend"}
    read = [
        read_sequences(long, series_id="name", **columns),
        read_sequences(lists(long), series_id="name", **columns),
        read_sequences(tmp_path / "lists.parquet", **columns),
        read_sequences(lists(long), label="trend"),
        read_sequences(lists(long).to_pandas(), label="trend"),
        read_sequences(write_archive(long, tmp_path / "x.ts")),
    ]
    for one in read[1:]:
        np.testing.assert_array_equal(one.values, read[0].values)
        np.testing.assert_array_equal(one.offsets, read[0].offsets)
        np.testing.assert_array_equal(one.labels, read[0].labels)
        assert list(one.categories.values()) == [("falls", "rises")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "is not a .ts file: there is no line @data"),
        ("@classLabel true a b\n@data\n1,2:c\n", "bad.ts, line 3: the label 'c' is not one of @classLabel, a, b"),
        ("@classLabel true a\n@data\n1,2,x:a\n", "bad.ts, line 3: 'x' is not a number"),
        ("@dimensions 2\n@classLabel true a\n@data\n1,2:a\n", "has 1 channels, but @dimensions says 2"),
        ("@classLabel true a\n@data\n1,2:3,4,5:a\n", "its channels have 2 to 3 values"),
        ("@timestamps true\n@data\n(0,1),(1,2):a\n", "holds time stamps"),
        ("@targetLabel true\n@data\n1,2:high\n", "line 3: the target 'high' is not a number"),
        ("@classLabel true a\n@data\n\n", "there is no sequence after @data"),
        ("@classLabel true a\n@data\n1,2:a\n1,2:3,4:a\n", "has 2 channels, but 1 in the lines before"),
    ],
)
def test_a_bad_archive_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.ts"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_ts(path)


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        (table(4), {"label": "trend", "target": ["a"]}, "data.id names no column"),
        (table(4), {"series_id": "name"}, "data.label names no column"),
        (table(4), {"series_id": "name", "target": ["a"], "predict": "step"}, "data.label names no column"),
        (table(4), {"series_id": "name", "target": ["a"], "label": "trend", "predict": "next"}, "predicts data.target"),
        (lists(table(4)), {"label": "trend", "target": ["a", "slope"]}, "a column of lists, and slope, which is none"),
        (
            pl.DataFrame({"a": [[1.0, 2.0], [1.0]], "b": [[1.0, 2.0], [1.0, 3.0]], "y": ["u", "v"]}),
            {"label": "y"},
            "row 2: its lists have 1 to 2 values",
        ),
        (pl.DataFrame({"a": [[True], [False]], "y": ["u", "v"]}), {"label": "y"}, "a column of lists of numbers"),
        (pl.DataFrame({"a": [[[1.0]], [[2.0]]], "y": ["u", "v"]}), {"label": "y"}, "a column of lists of numbers"),
        (pl.DataFrame({"a": [[1.0], []], "y": ["u", "v"]}), {"label": "y"}, "row 2: its lists are empty"),
        (
            pl.DataFrame({"a": [[1.0], [2.0]], "y": ["u", "v"]}),
            {"label": "y", "label_type": "number"},
            "label 'y' holds 'u'",
        ),
        (pl.DataFrame({"a": [[1.0], [None]], "y": ["u", "v"]}), {"label": "y"}, "sequence '2' has no value at all"),
        (
            pl.DataFrame({"a": [[1.0], [2.0]], "y": ["u", "v"]}),
            {"label": "z"},
            "data.label: .* has no column 'z'",
        ),
        (
            table(4).with_columns(trend=pl.Series([*"xy"] * (len(table(4)) // 2) + ["x"] * (len(table(4)) % 2))),
            {"label": "trend", "series_id": "name", "target": ["a"]},
            "must not change within a series",
        ),
    ],
)
def test_bad_sequences_are_refused(frame, settings, message):
    with pytest.raises(InputError, match=message):
        read_sequences(frame, **settings)


def test_whole_numbers_are_classes_and_others_are_numbers():
    frame = pl.DataFrame({"a": [[1.0, 2.0]] * 8, "grade": [1, 2, 3, 1, 2, 3, 1, 2], "size": np.linspace(0, 1, 8)})
    graded = read_sequences(frame, label="grade")
    assert graded.categories["grade"] == ("1", "2", "3")
    assert "taken as classes" in graded.notes[-1]
    assert not read_sequences(frame, label="size").categories
    assert not read_sequences(frame, label="grade", label_type="number").categories


def test_missing_steps_at_the_end_do_not_belong_to_a_sequence():
    frame = pl.DataFrame({"a": [[1.0, None, None], [1.0, None, 3.0]], "y": ["u", "v"]})
    read = read_sequences(frame, label="y")
    assert read.lengths.tolist() == [1, 3]
    assert read.observed.ravel().tolist() == [True, True, False, True]
    assert "2 steps without a value at the end" in read.notes[-1]


def test_sets_with_other_classes_are_joined():
    first = read_sequences(pl.DataFrame({"a": [[1.0], [2.0]], "y": ["u", "w"]}), label="y")
    second = read_sequences(pl.DataFrame({"a": [[3.0], [4.0, 5.0]], "y": ["v", "u"]}), label="y")
    joined = append(first, second)
    assert joined.categories["y"] == ("u", "v", "w")
    assert joined.labels[:, 0].tolist() == [1, 3, 2, 1]
    assert joined.values[:, 0].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(InputError, match="has the columns b, but"):
        append(first, read_sequences(pl.DataFrame({"b": [[1.0], [2.0]], "y": ["u", "w"]}), label="y"))


@pytest.mark.parametrize("part", [10, 30, 55])
def test_a_beginning_of_the_order_holds_all_classes_in_proportion(part):
    labels = np.repeat([1, 2, 3], [60, 30, 10])
    order = stratified_order(labels, classes=True, seed=0)
    assert sorted(order) == list(range(100))
    counts = np.bincount(labels[order[:part]], minlength=4)[1:]
    assert np.abs(counts - part * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_batches_hold_sequences_of_similar_length_and_each_comes_once():
    lengths = torch.randint(1, 500, (1003,), generator=torch.Generator().manual_seed(0))
    sampler = BucketSampler(lengths, 10, seed=1)
    order = sampler.indices(0, 0, 1003)
    assert order.sort().values.tolist() == list(range(1003))
    assert not torch.equal(order, sampler.indices(1, 0, 1003))
    assert torch.equal(order[20:40], BucketSampler(lengths, 10, seed=1).indices(0, 20, 40))
    spread = torch.stack([lengths[part].max() - lengths[part].min() for part in order[:1000].split(10)]).float()
    assert spread.mean() < 20  # of 400 or so in random batches


def test_windows_keep_the_contract_and_no_test_sequence_trains():
    data = Sequences(table(), target=["a", "b"], label="trend", id="name", batch_size=8)
    data.setup()
    assert data.windows == {"train": 42, "validation": 9, "test": 9}
    seen = {}
    for stage, loader in data.loaders.items():
        seen[stage] = set()
        for window in loader:
            check(window, data.spec)
            seen[stage] |= set(window.inputs.series.tolist())
            longest = window.inputs.past_observed.any(-1).sum(1).max()
            assert window.inputs.past_target.shape[1] == longest
            for index, series in enumerate(window.inputs.series.tolist()):
                rows = data.series.values[data.series.offsets[series] : data.series.offsets[series + 1]]
                np.testing.assert_array_equal(window.inputs.past_target[index, : len(rows)].numpy(), rows)
    assert not (seen["train"] & seen["validation"] | seen["train"] & seen["test"] | seen["validation"] & seen["test"])


def test_statistics_and_classes_come_from_training_only():
    long = table()
    data = Sequences(
        long, target=["a", "b"], label="trend", id="name", test_path=table(7, seed=5, classes=("falls", "jumps"))
    )
    data.setup()
    assert data.windows["test"] == 4  # a class that training has not seen has no label to be compared with
    assert data.spec.classes == (("falls", "rises"),)
    assert any("jumps" in note for note in data.series.notes)
    chosen = np.concatenate([np.arange(*data.series.offsets[i : i + 2]) for i in data.chosen["train"]])
    assert data.spec.target_statistics.mean[0] == pytest.approx(data.series.values[chosen, 0].mean(), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": [0.5, 0.4, 0.3]}, "there are 60 sequences to divide"),
        ({"split": [100, 20]}, "there are 60 sequences to divide"),
        ({"split": ["2020-01-01", "2021-01-01"]}, "two or three fractions or numbers of sequences"),
        ({"split": [1.0, 0.0]}, "the validation part of data.split=.* holds none of 60 sequences"),
        ({"label": ["trend", "slope"]}, "trend, slope are classes and numbers"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    data = Sequences(table(), **{"target": ["a", "b"], "label": "trend", "id": "name", **settings})
    with pytest.raises(InputError, match=message):
        data.setup()


def test_one_class_is_refused():
    data = Sequences(table(classes=("same", "same")), target=["a"], label="trend", id="name")
    with pytest.raises(InputError, match="all training sequences have the label 'same'"):
        data.setup()


def quick(**settings) -> dict:
    return {"logger": "none", "optimizer_steps": 120, "optimizer": {"lr": 0.01}, **settings}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> sm.TrainedRun:
    return sm.fit(
        table(),
        target=["a", "b"],
        label="trend",
        id="name",
        model="classifier",
        directory=tmp_path_factory.mktemp("run") / "c",
        **quick(),
    )


def test_a_classifier_learns_and_stands_beside_simple_rules(classifier):
    rows = classifier.table.filter(stage="test").rows_by_key("row", named=True, unique=True)
    assert rows["classifier"]["accuracy"] == 1
    assert rows["majority"]["accuracy"] == pytest.approx(4 / 9)
    assert {"nearest_neighbour", "dtw"} <= rows.keys()
    assert {file.name for file in (classifier.directory / "figures").iterdir()} == {
        f"{name}_{stage}.png" for name in ("labels", "mistakes") for stage in ("validation", "test")
    }
    assert classifier.run.plan.monitor == "validation/log_loss"


def test_a_loaded_classifier_predicts_the_same(classifier):
    model, new = sm.load(classifier.directory), table(10, seed=3)
    made = model.predict(new.drop("trend"))
    assert made.table.columns == ["id", "trend", "p(falls)", "p(rises)"]
    assert made.table["trend"].to_list() == ["falls", "rises"] * 5
    told = model.predict(new)
    assert told.table["true trend"].to_list() == ["falls", "rises"] * 5
    assert told.results["model"].summary()["accuracy"] == 1
    assert "accuracy" in repr(told)
    np.testing.assert_array_equal(told.values, made.values)
    shuffled = model.predict(pl.concat([part for _, part in reversed(list(new.group_by("name", maintain_order=True)))]))
    np.testing.assert_allclose(np.sort(shuffled.values[:, 0, 0]), np.sort(made.values[:, 0, 0]), atol=1e-6)


@pytest.mark.parametrize("call", ["forecast", "evaluate"])
def test_what_a_classifier_cannot_do_is_refused(classifier, call):
    with pytest.raises(InputError, match="labels whole sequences and forecasts no step; use predict"):
        getattr(sm.load(classifier.directory), call)()


def test_a_number_for_each_sequence(tmp_path):
    run = sm.fit(
        lists(table()), target=["a", "b"], label="slope", model="regressor", directory=tmp_path / "r", **quick()
    )
    rows = run.table.filter(stage="test").rows_by_key("row", named=True, unique=True)
    assert rows["regressor"]["mae"] < rows["mean"]["mae"] / 3
    assert rows["mean"]["skill"] == 0
    assert "mase" not in rows["mean"]
    made = sm.load(run.directory).predict(lists(table(6, seed=9)))
    assert made.table.columns == ["id", "slope", "true slope"]


def test_several_labels_at_once(tmp_path):
    long = table().with_columns(long=(pl.len().over("name") > 14).cast(pl.String))
    run = sm.fit(
        long,
        target=["a", "b"],
        label=["trend", "long"],
        id="name",
        model="classifier",
        directory=tmp_path / "m",
        **quick(),
    )
    accuracy = {row["channel"]: row["accuracy"] for row in run.table.filter(stage="test", row="classifier").to_dicts()}
    assert accuracy.keys() == {"all", "trend", "long"}
    assert accuracy["all"] == pytest.approx((accuracy["trend"] + accuracy["long"]) / 2)
    assert accuracy["trend"] == 1


@pytest.mark.parametrize("rule", [Prior, NearestNeighbour, partial(NearestNeighbour, distance="dtw")])
def test_rules_are_models_too(rule):
    data = Sequences(table(), target=["a", "b"], label="trend", id="name")
    data.setup()
    model = rule(data.spec)
    if isinstance(model, NearestNeighbour):
        model.fit_closed_form(data.sample)
        again = rule(data.spec)
        again.load_state_dict(model.state_dict())
        model = again
    window = next(iter(data.loaders["test"]))
    given = model.head.report(model(window.inputs).forecast)
    assert given.shape == (9, 1, 1, 1, 2)
    assert model.loss(window.inputs, window.targets).loss.isfinite()
    right = (given.argmax(-1)[:, 0] + 1 == window.targets.target).float().mean()
    assert right == 1 if isinstance(model, NearestNeighbour) else right < 0.6


@pytest.mark.parametrize(
    ("name", "published"), [("GunPoint", 0.907), ("ItalyPowerDemand", 0.950), ("JapaneseVowels", 0.949)]
)
def test_warping_reaches_the_published_accuracy(name, published):
    data = Sequences(real(f"classification/{name}_TRAIN.ts"), test_path=real(f"classification/{name}_TEST.ts"))
    data.setup()
    model = NearestNeighbour(data.spec, distance="dtw")
    model.fit_closed_form(lambda stage, most: (w for part in ("train", "validation") for w in data.sample(part, most)))
    scores = ClassScores(data.spec)
    for window in data.loaders["test"]:
        scores.update(model.head.report(model(window.inputs).forecast)[:, -1], window.inputs, window.targets)
    assert scores.results().summary()["accuracy"] == pytest.approx(published, abs=0.011)  # there without standardising
