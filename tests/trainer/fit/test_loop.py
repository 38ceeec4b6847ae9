"""A run that was stopped, however it was, ends as if it had not been; stages, early stop, the weights that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training import N_LABELS, TinyData, run_worker, tiny_config

from trainer.config import Config
from trainer.errors import ConfigError, DataError, RunError
from trainer.fit.checkpoint import load_checkpoint
from trainer.fit.loop import Answer, Trained, fit_network, load_trained
from trainer.inputs import Inputs
from trainer.models.slim_audio import SlimAudio


class StoppedError(Exception):
    """Stands for Ctrl-C."""


def fit(config: Config, folder: Path, **options) -> Trained:
    data = options.pop("data", None) or TinyData()
    data.for_config(config)
    options.setdefault("validate", data.validate(config))
    return fit_network(config, N_LABELS, data, folder, **options)


def stop_after(epochs: int) -> Callable[[int, float], None]:
    def stop(epoch: int, _loss: float) -> None:
        if epoch == epochs:
            raise StoppedError

    return stop


def assert_same(one: Trained, other: Trained) -> None:
    """The same weights, bit by bit, and the same curves."""
    state = other.network.state_dict()
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
    assert one.inputs == other.inputs
    assert curve(one) == curve(other)


def curve(trained: Trained) -> list[tuple[float, float | None, float, str]]:
    return [(e.loss, e.validation_loss, e.learning_rate, e.stage) for e in trained.history]


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], prefix: str) -> float:
    """Of the weights under a name."""
    names = [name for name in one if name.startswith(prefix) and one[name].is_floating_point()]
    assert names
    return max(float((one[name] - other[name]).abs().max()) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("train.optimizer=adam", "train.schedule=onecycle", "train.weight_decay=1e-4"),
        ("train.optimizer=sgd", "train.schedule=plateau", "train.plateau_epochs=1", "train.select=best"),
    ],
    ids=["adamw", "adam", "sgd"],
)
def test_a_resumed_run_gives_the_same_losses_and_weights(tmp_path: Path, settings: tuple[str, ...]) -> None:
    config = tiny_config(tmp_path, *settings)
    whole = fit(config, tmp_path / "whole" / "network")
    with pytest.raises(StoppedError):
        fit(config, tmp_path / "parts" / "network", on_epoch=stop_after(1))
    with pytest.raises(RunError, match="expected 3 epochs, got 1; type: trainer fit … --resume"):
        load_trained(tmp_path / "parts" / "network", N_LABELS, config)
    resumed = fit(config, tmp_path / "parts" / "network")
    assert len(whole.history) == 3
    assert_same(whole, resumed)


@pytest.mark.slow
def test_a_run_that_was_killed_at_any_moment_ends_the_same(tmp_path: Path) -> None:
    settings = ("train.epochs=4", "train.select=best", 'train.steps=[{parts=["head"],epochs=2},{parts=[""],epochs=2}]')
    done = run_worker(tmp_path, "killed", *settings)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3  # so often it was killed
    config = tiny_config(tmp_path, *settings)
    assert_same(fit(config, tmp_path / "whole" / "run"), load_trained(tmp_path / "run", N_LABELS, config))
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    done = run_worker(tmp_path, "full")
    assert done.returncode == 1, done.stderr
    assert "checkpoint.pt: expected to write" in done.stdout
    assert "File too large; the checkpoint before is as it was: make room, then go on with" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    config = tiny_config(tmp_path)
    assert len(load_checkpoint(tmp_path / "run" / "checkpoint.pt")["history"]) == 1
    assert_same(fit(config, tmp_path / "run"), fit(config, tmp_path / "whole" / "run"))


def test_another_split_starts_from_other_weights(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.epochs=1")
    first, other = (fit(config, tmp_path / name) for name in ("fold-0", "fold-1"))
    assert curve(first) != curve(other)


def test_a_loaded_network_answers_as_the_trained_one(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    trained = fit(config, tmp_path / "network")
    loaded = load_trained(tmp_path / "network", N_LABELS, config)
    features, _ = TinyData().windows(600, config, (1,))
    answer = trained.answer({"features": features})
    assert answer.keys() == {"fused"}
    assert answer["fused"].shape == (600, N_LABELS)
    np.testing.assert_array_equal(answer["fused"], loaded.answer({"features": features})["fused"])
    np.testing.assert_allclose(answer["fused"][:1], loaded.answer({"features": features[:1]})["fused"], atol=1e-5)
    assert not loaded.network.training
    assert fit(config, tmp_path / "network").history == loaded.history  # there is nothing left to do


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.epochs=12", "train.average_decay=0.8")
    history = fit(config, tmp_path / "network").history
    assert history[-1].loss < 0.5 < history[0].loss
    assert history[-1].validation_loss < 0.5


def test_the_inner_split_judges_the_average_that_is_kept(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    data = TinyData()
    validate = data.validate(config)
    trained = fit(config, tmp_path / "network", data=data, validate=validate)
    assert validate(trained.answer, trained.inputs) == pytest.approx(trained.history[-1].validation_loss, abs=1e-6)
    assert trained.inputs.audio.normalisation.mean[0] == data.measured


def scripted(losses: list[float]) -> Callable[[Answer, Inputs], float]:
    """A validation loss that says what it is told."""
    left = iter(losses)
    return lambda _answer, _inputs: next(left)


@pytest.mark.slow
def test_the_best_epoch_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.epochs=4", "train.select=best", "train.average_decay=0")
    kept = {}

    def keep(epoch: int, _loss: float) -> None:
        kept[epoch] = load_checkpoint(tmp_path / "network" / "checkpoint.pt")["average"]

    trained = fit(config, tmp_path / "network", validate=scripted([1.0, 0.5, 0.5, 0.7]), on_epoch=keep)
    assert difference(trained.network.state_dict(), kept[2], "") == 0.0
    assert difference(trained.network.state_dict(), kept[4], "") > 1e-4
    last = replace(config, train=replace(config.train, select="last"))
    trained = fit(last, tmp_path / "last" / "network", validate=scripted([1.0, 0.5, 0.5, 0.7]))
    assert difference(trained.network.state_dict(), kept[4], "") == 0.0


def test_training_stops_early_and_the_rate_falls_on_a_plateau(tmp_path: Path) -> None:
    config = tiny_config(
        tmp_path, "train.epochs=20", "train.schedule=plateau", "train.plateau_epochs=2", "train.stop_epochs=5"
    )
    losses = [1.0, 0.9, 0.95, 0.9, 0.95, 0.95, 0.95]
    history = fit(config, tmp_path / "network", validate=scripted(losses)).history
    assert [e.validation_loss for e in history] == losses
    assert [e.learning_rate for e in history] == [0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.0025]


STEPS = (
    'train.steps=[{parts=["classify"],epochs=1,learning_rate=0.1,batch_size=8},{parts=["head","classify"],epochs=2}]'
)


def test_stages_train_their_parts_and_nothing_else(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, STEPS, "train.average_decay=0")
    states, averages = {}, {}

    def keep(epoch: int, _loss: float) -> None:
        state = load_checkpoint(tmp_path / "network" / "checkpoint.pt")
        states[epoch], averages[epoch] = state["network"], state["average"]

    trained = fit(config, tmp_path / "network", on_epoch=keep)
    assert [e.stage for e in trained.history] == ["1 classify", "2 head+classify", "2 head+classify"]
    assert difference(states[1], states[3], "stem") == 0.0  # running statistics included
    assert difference(states[1], states[3], "blocks") == 0.0
    assert difference(states[1], states[2], "head") > 1e-3
    assert difference(states[1], states[3], "classify") > 1e-3
    assert difference(trained.network.state_dict(), averages[3], "") == 0.0


@pytest.mark.parametrize("epoch", [1, 2])
def test_stages_are_resumed_between_and_within_them(tmp_path: Path, epoch: int) -> None:
    config = tiny_config(tmp_path, STEPS, "train.select=best")
    with pytest.raises(StoppedError):
        fit(config, tmp_path / "parts" / "network", on_epoch=stop_after(epoch))
    assert_same(fit(config, tmp_path / "parts" / "network"), fit(config, tmp_path / "whole" / "network"))


def test_the_log_says_what_each_epoch_was(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, STEPS)
    trained = fit(config, tmp_path / "network")
    head, *lines = (tmp_path / "network" / "log.csv").read_text().splitlines()
    assert head == "epoch,stage,learning_rate,loss,validation_loss,seconds,data_wait"
    rows = [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]
    assert [row["stage"] for row in rows] == ["1 classify", "2 head+classify", "2 head+classify"]
    assert [float(row["loss"]) for row in rows] == [pytest.approx(e.loss, abs=1e-6) for e in trained.history]
    assert all(0 < float(row["data_wait"]) < 1 for row in rows)
    assert (tmp_path / "network" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_mixed_precision_trains_in_bfloat16_and_keeps_float32(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.mixed_precision=true")
    plain = fit(tiny_config(tmp_path), tmp_path / "plain" / "network")
    mixed = fit(config, tmp_path / "mixed" / "network")
    assert {value.dtype for value in mixed.network.state_dict().values()} == {torch.float32, torch.int64}
    losses = [[e.loss for e in trained.history] for trained in (plain, mixed)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("seed=2",), "expected a checkpoint of seed = 2, as configured, got one of 1; choose a new folder with --out"),
        (("train.learning_rate=0.02",), "of train.learning_rate = 0.02, as configured, got one of 0.01;"),
        (("model.name=se_visual",), "takes frames"),
        (("train.epochs=5", "train.select=best"), "of train.epochs = 5, as configured, got one of 3, and 1 more keys"),
        (("train.steps=[{parts=['stem']}]",), r"of train.steps = \[\{.*\}\], as configured, got one of \[\];"),
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(
    tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(StoppedError):
        fit(tiny_config(tmp_path), tmp_path / "network", on_epoch=stop_after(1))
    with pytest.raises((RunError, ConfigError), match=message):
        fit(tiny_config(tmp_path, *settings), tmp_path / "network")


def test_threads_and_device_may_change_between(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        fit(tiny_config(tmp_path), tmp_path / "network", on_epoch=stop_after(1))
    other = tiny_config(tmp_path, "train.workers=3", "train.device=auto")
    assert len(fit(other, tmp_path / "network").history) == 3


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_is_refused(tmp_path: Path, part: float) -> None:
    config = tiny_config(tmp_path, "train.epochs=1")
    fit(config, tmp_path / "network")
    path = tmp_path / "network" / "checkpoint.pt"
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(RunError, match=r"expected a checkpoint, got an.* file; delete it and type: trainer fit"):
        fit(config, tmp_path / "network")
    with pytest.raises(RunError, match="expected a checkpoint, got another file"):
        load_trained(tmp_path / "network", N_LABELS, config)


def test_a_checkpoint_of_an_older_version_and_a_folder_in_its_place_are_refused(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.epochs=1")
    path = tmp_path / "old" / "checkpoint.pt"
    path.parent.mkdir()
    torch.save({"model": {}, "losses": [0.5]}, path)
    with pytest.raises(RunError, match="expected a checkpoint of this version's training, got another"):
        fit(config, tmp_path / "old")
    (tmp_path / "folder" / "checkpoint.pt").mkdir(parents=True)
    with pytest.raises(RunError, match="expected a checkpoint, got: Is a directory"):
        fit(config, tmp_path / "folder")


def test_a_loss_that_is_no_number_ends_the_run_before_it_is_kept(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "train.optimizer=sgd", "train.schedule=constant", "train.learning_rate=1e30")
    with pytest.raises(RunError, match=r"expected a loss that is a number in epoch 1, got none; lower train.learning"):
        fit(config, tmp_path / "network")
    assert not (tmp_path / "network" / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.select=best", "train.select: expected one that waits for no validation loss, got 'best'"),
        ("train.stop_epochs=2", "train.stop_epochs: expected one that waits for no validation loss, got 2"),
        ("train.schedule=plateau", "train.schedule: expected one that waits for no validation loss, got 'plateau'"),
    ],
)
def test_what_waits_for_a_validation_loss_needs_one(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(tiny_config(tmp_path, setting), tmp_path / "network", validate=None)


def test_what_cannot_be_trained_is_one_error(tmp_path: Path) -> None:
    for settings, message in (
        (('model.freeze=["stem","blocks","head","classify"]',), "expected a part of the network that is trained"),
        (('model.freeze=["stam"]',), "model.freeze: expected a part of the network, as .*, got 'stam'"),
        (('train.device="gpu"',), 'train.device: expected "auto", "cpu" or "cuda", got \'gpu\''),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(tiny_config(tmp_path, *settings), tmp_path / "network")
    config = tiny_config(tmp_path)

    class Empty(TinyData):
        def batches(self, *_arguments):
            return iter(())

    with pytest.raises(DataError, match="expected a batch of training windows at least, got none"):
        fit(config, tmp_path / "network", data=Empty(), validate=None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='expected a GPU that PyTorch can use for "cuda", got none'):
        fit(tiny_config(tmp_path, "train.device=cuda"), tmp_path / "network")


def test_weights_may_be_those_of_the_network_s_folder(tmp_path: Path) -> None:
    settings = ("train.epochs=1", "train.learning_rate=1e-9", "train.weight_decay=0")
    parts = [f"model.weights.{part}.file=begun/{{split}}.pt" for part in ("stem", "blocks", "head")]
    begun = {}
    for seed, name in enumerate(("fold-0", "fold-1")):
        torch.manual_seed(seed)
        begun[name] = SlimAudio(2).state_dict()  # of other labels: their layer is not asked for
        (tmp_path / "begun").mkdir(exist_ok=True)
        torch.save(begun[name], tmp_path / "begun" / f"{name}.pt")
    config = tiny_config(tmp_path, *settings, *parts)
    for name, weights in begun.items():
        trained = fit(config, tmp_path / name, root=tmp_path)
        for part in ("stem.0.weight", "blocks.2.path.0.weight", "head.0.weight"):
            torch.testing.assert_close(trained.network.state_dict()[part], weights[part], rtol=0, atol=1e-6)
        load_trained(tmp_path / name, N_LABELS, config)  # the same configuration, as the run's
    with pytest.raises(DataError, match=r"fold-2\.pt: expected a file of weights, got: No such file"):
        fit(config, tmp_path / "fold-2", root=tmp_path)
