"""A label or the next symbol at every step: laws over all backbones, reading, measures against formulas, training."""

import io
import math
import re
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zoo
from command_line import python
from test_sequences import alone, readable

import seqmodels as sm
from datamodules.chorales import Chorales
from datamodules.labelled import SequenceEncoder, read_sequences
from datamodules.reber import Reber, draw_string, draw_wrong_string, is_allowed
from datamodules.sequences import Sequences
from seqmodels.baselines.labels import Prior, SymbolBack
from seqmodels.class_metrics import StepScores
from seqmodels.errors import InputError
from seqmodels.forecaster import Forecaster
from seqmodels.heads.classes import Classes
from seqmodels.heads.point import Point
from seqmodels.inference.generation import generate
from seqmodels.readouts.direct import Iterated, SeqToSeq, SeqToVector
from seqmodels.window import Category, Inputs, Statistics, Targets, Window, WindowSpec, check, measured

NEXT = zoo.SYMBOLS
LETTERS, WORDS = NEXT.categories
STEP = NEXT._replace(
    kind="step", channels=("letter", "x"), labels=("state",), label_statistics=Statistics((0.0,), (1.0,)),
    categories=(LETTERS, Category("state", ("cold", "hot", "mild"), (0.5, 0.3, 0.2))),
)  # fmt: skip
LENGTHS = (5, 12, 9, 1, 12, 7)
CAUSAL = [name for name in zoo.BACKBONES if readable(name, "last") and zoo.STATED[name].causal]
CAUSAL = [name for name in CAUSAL if zoo.STATED[name].stride == 1]


def build(backbone: str, spec: WindowSpec = NEXT, seed: int = 0, **arguments) -> Forecaster:
    torch.manual_seed(seed)
    made = zoo.BACKBONES[backbone]
    if arguments:
        made = lambda **sizes: zoo.BACKBONES[backbone](**sizes, **arguments)  # noqa: E731
    return Forecaster(spec, zoo.SCALERS["standard"], made, SeqToSeq, Classes()).eval()


def batch(spec: WindowSpec = NEXT, extra: int = 0) -> Window:
    """Random symbols of LENGTHS, padded on the right; labels of noise."""
    random, steps = torch.Generator().manual_seed(1), max(LENGTHS) + extra
    exists = (torch.arange(steps) < torch.tensor(LENGTHS)[:, None])[..., None]
    first = torch.randint(0, 5, (len(LENGTHS), max(LENGTHS), 1), generator=random).float()
    second = torch.randint(0, 31, (len(LENGTHS), max(LENGTHS), 1), generator=random).float()
    values = torch.nn.functional.pad(torch.cat([first, second], 2), (0, 0, 0, extra))
    inputs = spec._replace(past_steps=steps).zeros(len(LENGTHS))
    inputs = inputs._replace(past_target=values * exists, past_observed=exists.expand(-1, -1, 2))
    labels = torch.randint(1, 4, (len(LENGTHS), steps, len(spec.labels)), generator=random).float()
    return Window(inputs, Targets(labels * exists, exists.expand(labels.shape)), torch.zeros(len(LENGTHS)))


def test_a_batch_of_symbols_keeps_the_contract():
    for spec in (NEXT, STEP):
        check(batch(spec), spec)
        assert WindowSpec.from_dict(spec.to_dict()) == spec
    assert (NEXT.symbols, STEP.symbols) == ((True, True), (True, False))
    assert NEXT.features == 4 + WORDS.width
    with pytest.raises(InputError, match="targets are"):
        check(batch()._replace(targets=Targets(torch.zeros(6, 1, 2), torch.ones(6, 1, 2, dtype=torch.bool))), NEXT)


@pytest.mark.parametrize("backbone", CAUSAL)
def test_padding_and_the_order_of_a_batch_change_nothing(backbone):
    model, (inputs, _, _) = build(backbone), batch()
    with torch.no_grad():
        together, wider = model(inputs).forecast, model(batch(extra=4).inputs).forecast
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        shuffled = model(Inputs(*(field[order] for field in inputs))).forecast
        assert together.shape == (6, 12, 1, 2, 30)
        torch.testing.assert_close(together[order], shuffled, atol=1e-5, rtol=1e-5)
        for index, length in enumerate(LENGTHS):
            single = model(alone(inputs, index, length)).forecast[0]
            torch.testing.assert_close(together[index, :length], single, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(wider[index, :length], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", CAUSAL)
def test_a_symbol_never_reaches_its_own_estimate(backbone):
    model, (inputs, _, _) = build(backbone), batch()
    changed = inputs.past_target.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) * inputs.past_observed[:, 6:]
    changed[..., 0].clamp_(max=4)
    with torch.no_grad():
        first, second = model(inputs).forecast, model(inputs._replace(past_target=changed.clamp(max=30))).forecast
    torch.testing.assert_close(first[:, :6], second[:, :6], atol=0, rtol=0)  # the symbol of step 6 is the target of 5
    assert not torch.equal(first[1, 6], second[1, 6])


@pytest.mark.parametrize("backbone", CAUSAL)
def test_step_by_step_gives_the_probabilities_of_the_whole_sequence(backbone):
    model, inputs = build(backbone, NEXT._replace(ragged=False)), batch().inputs
    inputs = Inputs(*(field[[1, 4]] for field in inputs))
    with torch.no_grad():
        whole, state = model.head.report(model(inputs).forecast), None
        for step, value in enumerate(inputs.past_target.unbind(1)):
            output = model.step(value, state)
            state = output.state
            torch.testing.assert_close(model.head.report(output.forecast)[:, 0], whole[:, step], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("spec", [NEXT, STEP])
def test_the_loss_is_the_mean_over_all_steps_with_a_label(spec):
    model, (inputs, targets, _) = build("gru", spec), batch(spec)
    hidden = targets._replace(observed=targets.observed & (torch.rand(targets.observed.shape) < 0.7))
    output = model.loss(inputs, hidden, forecast=True)
    logs = output.forecast[:, :, 0].log_softmax(-1)
    costs = -logs.gather(-1, (hidden.target.long() - 1).clamp(min=0).unsqueeze(-1))[..., 0]
    torch.testing.assert_close(output.loss, costs[hidden.observed].mean())
    assert output.weight == hidden.observed.sum()
    more = model.loss(inputs, hidden._replace(target=hidden.target.where(hidden.observed, 1.0))).loss
    torch.testing.assert_close(more, output.loss)


def test_a_label_of_each_step_may_be_read_from_both_sides():
    model = build("bidirectional_gru", STEP, every_step=True)
    inputs = batch(STEP).inputs
    with torch.no_grad():
        together = model(inputs).forecast
        single = model(alone(inputs, 2, 9)).forecast[0]
    torch.testing.assert_close(together[2, :9], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "scaler", "backbone", "readout", "head", "message"),
    [
        (NEXT, "standard", "gru", SeqToVector, Classes, "letter is to be predicted at each step; use model=symbols"),
        (STEP, "standard", "gru", Iterated, Classes, "state is to be predicted at each step; use model=symbols"),
        (NEXT, "standard", "gru", SeqToSeq, Point, "names classes; use model=classifier"),
        (NEXT, "standard", "bidirectional_gru", SeqToSeq, Classes, "use a causal backbone, such as gru"),
        (NEXT, "standard", "conv_gru", SeqToSeq, Classes, "no feature for each step"),
        (STEP, "window_mean", "gru", SeqToSeq, Classes, "takes its statistics from the first 3 steps"),
    ],
)
def test_parts_that_do_not_fit_are_refused(spec, scaler, backbone, readout, head, message):
    with pytest.raises(InputError, match=message):
        Forecaster(spec, zoo.SCALERS[scaler], zoo.BACKBONES[backbone], readout, head())


def test_measures_agree_with_their_formulas():
    random = np.random.default_rng(0)
    shares = random.dirichlet([1, 2, 1, 1], (300, 2)).astype(np.float32)
    truth = random.integers(0, 5, (300, 2))  # 0 does not count
    scores = StepScores(NEXT._replace(categories=(LETTERS, LETTERS._replace(column="word"))))
    for part in (slice(0, 100), slice(100, 300)):
        target = torch.from_numpy(truth[part]).float()[:, None]
        scores.update(torch.from_numpy(shares[part])[:, None], None, Targets(target, torch.ones_like(target).bool()))
    found = scores.results()
    for column in range(2):
        known = truth[:, column] > 0
        chosen, true = shares[known, column].argmax(1), truth[known, column] - 1
        loss = -np.log(shares[known, column][np.arange(len(true)), true]).mean()
        f1 = [2 * ((chosen == k) & (true == k)).sum() / ((chosen == k).sum() + (true == k).sum()) for k in range(4)]
        expected = {"accuracy": (chosen == true).mean(), "macro_f1": np.mean(f1), "log_loss": loss}
        assert found.channel(column).summary() == pytest.approx({**expected, "perplexity": math.exp(loss)}, abs=1e-5)


def test_only_steps_with_a_label_are_measured():
    inputs, targets, origin = batch()
    values = torch.rand(6, 12, 1, 2, 30)
    given, _, counted = measured(values, Window(inputs, targets, origin), NEXT)
    assert len(given) == sum(LENGTHS) == len(counted.target)
    torch.testing.assert_close(given, torch.cat([values[i, :length] for i, length in enumerate(LENGTHS)]))


def test_symbols_of_some_steps_before_come_again():
    spec = NEXT._replace(channels=("letter",), labels=("letter",), categories=(LETTERS,), ragged=False)
    song = torch.tensor([1.0, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4])[None, :, None]
    inputs = spec.zeros()._replace(past_target=song)
    observed = torch.ones(1, 12, 1, dtype=torch.bool)
    targets = Targets(song.roll(-1, 1), observed)
    rule = SymbolBack(spec, "auto")
    rule.fit_closed_form(lambda stage, most: [Window(inputs, targets, torch.zeros(1))])
    assert int(rule.steps) == 4
    chosen = rule.head.mean(rule(inputs).forecast)[0, :, 0, 0]
    assert chosen.tolist() == [1, 1, 1, 1, 2, 3, 4, 1, 2, 3, 4, 1]  # the most frequent one until there are four
    again = SymbolBack(spec, 1)
    assert again.head.mean(again(inputs).forecast)[0, :, 0, 0].tolist() == song[0, :, 0].tolist()
    torch.testing.assert_close(rule.head.report(Prior(spec)(inputs).forecast)[0, 3, 0, 0], torch.tensor(LETTERS.shares))


def table(count: int = 40, seed: int = 0) -> pl.DataFrame:
    """Letters that go round, from a random one on; the state says which one it was."""
    random, rows = np.random.default_rng(seed), []
    for index in range(count):
        start = int(random.integers(3))
        for step in range(int(random.integers(6, 15))):
            letter = (start + step) % 3
            rows.append((f"s{index:02}", step, "abc"[letter], 60 + letter, ("hot", "cold", "cold")[letter]))
    return pl.DataFrame(rows, schema=["name", "step", "letter", "note", "state"], orient="row")


def lists(long: pl.DataFrame) -> pl.DataFrame:
    return long.group_by("name", maintain_order=True).agg("letter", "note", "state")


def test_the_next_symbol_is_the_target_one_step_later():
    long = table()
    read = read_sequences(long, target="letter", series_id="name", time="step")
    again = read_sequences(lists(long), target="letter")
    numbers = read_sequences(long, target="note", series_id="name", time="step")
    assert read.categories == {"letter": ("a", "b", "c")} and numbers.categories == {"note": ("60", "61", "62")}
    assert any("target 'note' has 3 different whole numbers, taken as classes" in note for note in numbers.notes)
    for one in (again, numbers):
        np.testing.assert_array_equal(one.values, read.values)
        np.testing.assert_array_equal(one.labels, read.labels)
    last = read.offsets[1:] - 1
    assert np.isnan(read.labels[last]).all() and np.isfinite(read.labels).sum() == len(long) - 40
    inner = np.setdiff1d(np.arange(len(long)), last)
    np.testing.assert_array_equal(read.labels[inner], read.values[inner + 1])


def test_labels_of_steps_are_read_from_long_tables_and_lists():
    long = table()
    read = read_sequences(long, target="letter", label="state", predict="step", series_id="name")
    again = read_sequences(lists(long), target="letter", label="state", predict="step")
    for one in (read, again):
        assert [one.categories["state"][int(code) - 1] for code in one.labels[:, 0]] == long["state"].to_list()
        assert one.past_covariates is None
    with pytest.raises(InputError, match="must not change within a series"):
        read_sequences(long, target="letter", label="state", series_id="name")


def test_published_parts_are_kept():
    parts = [table(12, seed) for seed in range(3)]
    data = Sequences(parts[0], validation_path=parts[1], test_path=parts[2], target="letter", id="name")
    data.setup()
    assert data.windows == {"train": 12, "validation": 12, "test": 12}
    for stage, frame in zip(("train", "validation", "test"), parts, strict=True):
        steps = sum(int(window.inputs.past_observed.sum()) for window in data.loaders[stage])
        assert steps == len(frame)
    with pytest.raises(InputError, match="data.validation_path names the validation part"):
        Sequences(parts[0], validation_path=parts[1], split=[0.8, 0.2])


def test_symbols_that_training_has_not_seen_are_unknown():
    train, other = table(12), table(6, 1).with_columns(pl.col("letter").replace({"c": "z"}))
    data = Sequences(train, validation_path=other, target="letter", id="name")
    data.setup()
    assert any("'z' not in the training part: unknown in" in note for note in data.series.notes)
    windows = list(data.loaders["validation"])
    seen = torch.cat([window.targets.target[window.targets.observed] for window in windows])
    assert set(seen.tolist()) == {1, 2}
    encoder = SequenceEncoder.from_dict(data.encoder().to_dict(), data.spec)
    encoded = torch.cat([window.inputs.past_target.flatten() for _, window in encoder.batches(encoder.read(other))])
    assert sorted(encoded.tolist()) == sorted(torch.cat([w.inputs.past_target.flatten() for w in windows]).tolist())


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        (table(12).with_columns(letter=pl.lit("a")), {}, "all training steps have the label 'a'"),
        (table(12), {"label_type": "number"}, "label 'letter' holds 'a', and data.label_type is number"),
        (table(12).with_columns(x=pl.col("step") / 3), {"target": ["letter", "x"]}, "are classes and numbers"),
    ],
)
def test_symbols_that_cannot_be_learned_are_refused(frame, settings, message):
    with pytest.raises(InputError, match=message):
        Sequences(frame, **{"target": "letter", "id": "name", **settings}).setup()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("symbols") / "run"
    settings = {"id": "name", "predict": "next", "optimizer_steps": 80, "logger": "none", "rivals": "symbol_back"}
    return sm.fit(table(), target="letter", directory=folder, **settings)


def test_symbols_are_learned_beside_simple_rows(trained):
    rows = {row["row"]: row for row in trained.run.rows if row["stage"] == "test"}
    assert set(rows) == {"symbols", "majority", "last repeated", "symbol_back"}
    assert rows["symbols"]["accuracy"] == 1
    assert rows["symbols"]["perplexity"] == pytest.approx(math.exp(rows["symbols"]["log_loss"]))
    assert rows["last repeated"]["accuracy"] == 0 and math.isnan(rows["last repeated"]["log_loss"])
    assert rows["symbol_back"]["accuracy"] < 1  # three steps before, of which the first ones have none
    assert (trained.directory / "figures" / "labels_test.png").is_file()
    assert sm.load(trained.directory).spec.kind == "next"


def test_prediction_gives_each_step_the_next_symbol(trained):
    made = sm.load(trained.directory).predict(table(5, 7))
    found = made.table
    assert found.columns == ["id", "step", "next letter", "p(a)", "p(b)", "p(c)", "true next letter"]
    known = found.filter(pl.col("true next letter").is_not_null())
    assert len(found) == len(table(5, 7)) == len(known) + 5
    accuracy = (known["next letter"] == known["true next letter"]).mean()
    assert made.results["model"].summary()["accuracy"] == pytest.approx(accuracy)
    lone = table(5, 7).filter(pl.col("name") == "s03")
    again = sm.load(trained.directory).predict(lone).table
    np.testing.assert_allclose(again["p(a)"], found.filter(pl.col("id") == "s03")["p(a)"], atol=1e-6)


def test_generated_symbols_do_not_depend_on_what_else_is_generated(trained):
    model, frame = sm.load(trained.directory), table(4, 3)
    settings = {"n": 3, "steps": 20, "temperature": 2.0, "seed": 5}
    together = model.generate(frame, **settings).table
    assert len(together) == 3 * (len(frame) + 4 * 20)
    for name in ("s02", "s00"):
        alone = model.generate(frame.filter(pl.col("name") == name), **settings).table
        assert alone.equals(together.filter(pl.col("id") == name))
    given = together.filter(pl.col("given") & (pl.col("sample") == 2))
    assert given["letter"].to_list() == frame["letter"].to_list()
    assert model.generate(frame, **settings).table.equals(together)
    assert not model.generate(frame, **{**settings, "seed": 6}).table.equals(together)


def test_generated_symbols_follow_the_probabilities(trained):
    model = sm.load(trained.directory)
    begin = pl.DataFrame({"name": ["x"] * 4, "letter": list("abca")})
    expected = model.predict(begin).table.row(-1)[3:6]
    for temperature in (1.0, 3.0):
        drawn = model.generate(begin, n=4000, steps=1, temperature=temperature).table.filter(~pl.col("given"))
        shares = np.array([(drawn["letter"] == letter).mean() for letter in "abc"])
        powers = np.array(expected) ** (1 / temperature)
        np.testing.assert_allclose(shares, powers / powers.sum(), atol=0.03)
    free = model.generate(n=2000, steps=1).table["letter"].value_counts().sort("letter")
    np.testing.assert_allclose(free["count"] / 2000, model.spec.categories[0].shares, atol=0.04)


def test_the_most_probable_symbols_only(trained):
    model, begin = sm.load(trained.directory), pl.DataFrame({"name": ["x"] * 3, "letter": list("abc")})
    for settings in ({"temperature": 0.0}, {"top_k": 1}):
        assert "".join(model.generate(begin, steps=9, **settings).table["letter"]) == "abcabcabcabc"
    two = model.generate(begin, n=500, steps=1, temperature=50.0, top_k=2).table.filter(~pl.col("given"))["letter"]
    assert two.n_unique() == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n is 0; it must be at least 1"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"top_k": 0}, "top_k is 0; it must be at least 1"),
        ({"temperature": -1.0}, "temperature is -1.0; it must be a number of at least 0"),
        ({"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_settings_of_generation_are_checked(trained, settings, message):
    with pytest.raises(InputError, match=message):
        sm.load(trained.directory).generate(**settings)


@pytest.mark.parametrize("backbone", CAUSAL)
def test_generation_draws_from_the_probabilities_of_the_whole_sequence(backbone):
    """Each symbol is the most probable one after all before it, read anew."""
    model = build(backbone, NEXT._replace(ragged=False, past_steps=12))
    encoder = SequenceEncoder(model.spec, {}, None, {}, ())
    made = generate(model, encoder, None, n=3, steps=12, temperature=0.0).values
    read = torch.from_numpy(np.stack(made)).float()
    inputs = model.spec.zeros(3)._replace(past_target=read)
    with torch.no_grad():
        whole = model.head.mean(model(inputs).forecast)[:, :, 0]
    torch.testing.assert_close(read[:, 1:], whole[:, :-1])


def test_models_that_cannot_generate_are_refused():
    encoder = SequenceEncoder(STEP, {}, None, {}, ())
    with pytest.raises(InputError, match="generate draws the next symbol"):
        generate(build("gru", STEP), encoder)
    one = Statistics((0.0,), (1.0,))
    with pytest.raises(InputError, match="knows no future values of wind"):
        generate(build("gru", NEXT._replace(past_covariates=("wind",), past_statistics=one)), encoder)
    with pytest.raises(InputError, match="the model reads age of each sequence"):
        generate(build("gru", NEXT._replace(statics=("age",), static_statistics=one)), encoder)


def test_generation_from_the_command_line(trained, tmp_path):
    table(3, 5).select("name", "letter").write_csv(tmp_path / "begin.csv")
    run = ("-m", "seqmodels")
    settings = ("data.path=begin.csv", "n=2", "steps=4", "output=songs.csv")
    told = python(tmp_path, *run, "generate", str(trained.directory), *settings)
    assert told.code == 0, told.err
    written = pl.read_csv(tmp_path / "songs.csv")
    assert written.columns == ["id", "sample", "step", "letter", "given"]
    assert len(written.filter(~pl.col("given"))) == 3 * 2 * 4
    refused = python(tmp_path, *run, "forecast", str(trained.directory))
    assert refused.code != 0
    assert "predicts the next symbol of sequences and forecasts no step; use predict or generate" in refused.err


def regular(string: str) -> bool:
    """The grammar as a regular expression, after its graph."""
    after_x = "(XT*VP)*(S|XT*VV)"
    inner = f"B(TS*X{after_x}|PT*V(V|P{after_x}))E"
    return bool(re.fullmatch(f"B(T{inner}T|P{inner}P)E", string))


def test_strings_of_the_grammar():
    random = np.random.default_rng(0)
    for _ in range(300):
        good, bad = draw_string(random), draw_wrong_string(random)
        assert regular(good) and is_allowed(good)
        assert not regular(bad) and not is_allowed(bad)


def test_a_grammar_is_data_like_others():
    data = Reber(sequences=40, test_sequences=10)
    data.setup()
    assert data.windows == {"train": 36, "validation": 4, "test": 10}
    window = next(iter(data.train_dataloader()))
    assert window.inputs.past_target.max() == 7 and data.spec.symbols == (True,)
    assert data.spec.classes == (("bad", "good"),) and data.spec.features == 7
    again = Reber(sequences=40, test_sequences=10)
    again.setup()
    assert again.fingerprint() == data.fingerprint()


def write_chorales(path: Path, chords: int = 5) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for number, part in enumerate(("train", "valid", "test")):
            rows = "".join(f"{60 + chord},{50 + number},0,40\n" for chord in range(chords))
            content = f"note0,note1,note2,note3\n{rows}".encode()
            member = tarfile.TarInfo(f"jsb_chorales/{part}/chorale_00{number}.csv")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_chorales_are_windows_of_chords(tmp_path):
    write_chorales(tmp_path / "x.tgz")
    data = Chorales(tmp_path / "x.tgz", chords=3, shift=2)
    data.setup()
    assert data.windows == {"train": 2, "validation": 2, "test": 2}
    assert data.series.names[:2] == ("train/chorale_000/0", "train/chorale_000/2")
    window = next(iter(data.train_dataloader()))
    assert int(window.targets.observed.sum()) == 2 * 11
    with pytest.raises(InputError, match="holds no chorale of 6 chords in a folder train"):
        Chorales(tmp_path / "x.tgz", chords=6).setup()
    (tmp_path / "y.tgz").write_text("no archive")
    for name in ("y.tgz", "z.tgz"):
        with pytest.raises(InputError, match="cannot be read as the archive of the chorales"):
            Chorales(tmp_path / name).setup()
