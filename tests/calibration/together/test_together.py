"""Students and estimator trained at once: what they are told, what they learn from, and that they learn."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nsp_pipeline.calibration.estimator.objective import told_table  # noqa: E402
from nsp_pipeline.calibration.simulation.tell import tell_tables, told_between  # noqa: E402
from nsp_pipeline.calibration.student.pictures import PictureStore  # noqa: E402
from nsp_pipeline.calibration.together.crops import MARGIN, draw_crops  # noqa: E402
from nsp_pipeline.calibration.together.learner import Learner  # noqa: E402
from nsp_pipeline.calibration.together.objective import white_loss  # noqa: E402
from nsp_pipeline.calibration.together.pool import ShotPool  # noqa: E402
from nsp_pipeline.calibration.together.train import TogetherSettings, train_together  # noqa: E402
from nsp_pipeline.errors import UsageError  # noqa: E402
from nsp_pipeline.models.noise_net import NoiseNet  # noqa: E402

SIDE = 64


def _scenes(count: int = 4, side: int = 260) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.uniform(0, 1, (count, 3, 12, 12)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    return [(part.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy().copy() for part in smooth]


@pytest.fixture(scope="module")
def pool() -> "Iterator[ShotPool]":
    made = ShotPool(_scenes(), SIDE, workers=2, seed=1)
    made.open_on("cpu", 40)
    while made.made < 30:
        made.refresh()
    yield made
    made.close()


def test_a_batch_is_told_what_one_photo_after_another_is() -> None:
    torch.manual_seed(4)
    network = NoiseNet((16, 32, 48, 64, 64)).eval()
    torch.nn.init.normal_(network.tail.weight, std=0.05)
    pixels = np.random.default_rng(5).integers(0, 256, (5, 96, 128, 3)).astype(np.uint8)
    pixels[1] //= 4
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        together = tell_tables(network, image).numpy()
        alone = np.stack([told_table(network, part) for part in pixels])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-6)


def test_shots_of_the_workers_are_whole_and_their_tables_tell_their_noise(pool: "ShotPool") -> None:
    shots = pool.draw(64, torch.Generator().manual_seed(2))
    assert shots.noisy.dtype == torch.uint8
    assert shots.noisy.shape == (64, 3, SIDE, SIDE)
    noise = (shots.noisy.float() - shots.clean.float()).square().mean((1, 2, 3)).sqrt() / 255
    told = shots.table.square()[:, [0, 2]].sum(1).mean(1).sqrt()
    some = noise > 2 / 255
    assert some.any()
    assert float((told[some] / noise[some]).log().abs().median()) < 0.5
    assert float(told[noise < 0.1 / 255].max() if (noise < 0.1 / 255).any() else 0) < 1 / 255


def test_shots_are_of_pictures_that_cameras_made_where_there_are_any() -> None:
    red = [np.full((SIDE + 8, SIDE + 8, 3), (220, 20, 20), np.uint8)]
    made = ShotPool(_scenes(), SIDE, workers=1, seed=1, taken=red)
    try:
        made.open_on("cpu", 60)
        while made.made < 60:
            made.refresh()
        clean = made.draw(200, torch.Generator().manual_seed(2)).clean.float().mean((2, 3))
    finally:
        made.close()
    of_red = clean[:, 0] - clean[:, 2] > 40
    grey = (clean[:, 0] - clean[:, 2]).abs() < 1
    assert (of_red | grey).all()
    assert float(grey.float().mean()) < 0.2


def test_workers_rest_where_their_shots_are_not_wanted(pool: "ShotPool", monkeypatch: pytest.MonkeyPatch) -> None:
    from nsp_pipeline.calibration.together import pool as module

    monkeypatch.setattr(module, "AHEAD", -1e9)
    before = pool.made
    pool.refresh()
    assert pool.made == before
    monkeypatch.undo()
    while pool.made == before:
        pool.refresh()


def test_crops_of_all_kinds_come_in_the_numbers_asked_for(pool: "ShotPool") -> None:
    store = PictureStore(_scenes(), 2 * SIDE + MARGIN, "cpu")
    crops = draw_crops(store, pool, (5, 4, 3), torch.Generator().manual_seed(6))
    assert crops.noisy.shape == crops.clean.shape == (12, 3, SIDE, SIDE)
    assert crops.sharp.shape == (12, 3, 2 * SIDE, 2 * SIDE)
    assert crops.known.flatten().tolist() == [1.0] * 9 + [0.0] * 3
    fine = torch.nn.functional.avg_pool2d(crops.sharp, 2)
    assert float((fine - crops.clean)[:9].abs().max()) < 1e-4, "the finer picture has the means of the clean one"
    assert all(torch.isfinite(part).all() for part in (crops.noisy, crops.table, crops.levels))


def test_exposing_a_shot_anew_exposes_its_noise_and_its_table(pool: "ShotPool") -> None:
    crops = draw_crops(
        PictureStore(_scenes(), 2 * SIDE + MARGIN, "cpu"), pool, (0, 0, 96), torch.Generator().manual_seed(7)
    )
    noise = (crops.noisy - crops.clean).square().mean((1, 2, 3)).sqrt()
    told = crops.table.square()[:, [0, 2]].sum(1).mean(1).sqrt()
    some = noise > 3 / 255
    assert float((told[some] / noise[some]).log().abs().median()) < 0.4


def test_a_short_training_saves_every_network_and_goes_on_from_what_it_saved(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    saved: list[dict[str, Any]] = []

    def save(networks: Mapping[str, Any], figures: dict[str, Any]) -> None:
        saved.append(figures)
        for name, network in networks.items():
            save_file(
                {key: part.contiguous() for key, part in network.state_dict().items()}, tmp_path / f"{name}.safetensors"
            )

    settings = TogetherSettings(
        steps=6,
        counts=(2, 2, 2),
        parts=2,
        side=SIDE,
        workers=1,
        pooled=64,
        students=["fast"],
        judge_every=1e9,
        judged=3,
        refresh_every=0.0,
    )
    train_together(_scenes(), _scenes(2), [(settings, save)], "cpu", say=lambda message: None)
    assert saved[-1]["step"] == 6
    assert saved[-1]["megapixels"] == pytest.approx(3 * 6 * SIDE**2 / 1e6), "three batches of six crops, in halves"
    assert np.isfinite(saved[-1]["loss fast"])
    assert {path.stem for path in tmp_path.iterdir()} == {"fast", "estimator"}
    again = TogetherSettings(
        steps=2,
        counts=(2, 0, 0),
        noise="white",
        side=SIDE,
        workers=0,
        students=["fast"],
        judge_every=1e9,
        judged=3,
        base=tmp_path,
        estimator=tmp_path / "estimator.safetensors",
        learning_rate=1e-9,
    )
    first = saved[-1]["fast white10"]
    train_together(_scenes(), _scenes(2), [(again, save)], "cpu", say=lambda message: None)
    assert saved[-1]["fast white10"] == pytest.approx(first, abs=0.02), "it started from the saved weights"


def test_what_is_told_lies_between_the_truth_and_what_was_found() -> None:
    truth, found = torch.full((3, 4, 8), 0.01), torch.full((3, 4, 8), 0.04)
    truth[:, 3], found[:, 3] = 0, 1e-6
    told = told_between(truth, found, torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1))
    assert torch.allclose(told[:, 0, 0], torch.tensor([0.01, 0.02, 0.04]))
    assert float(told[:, 3].max()) == 0, "no noise is none"


def test_errors_of_white_noise_count_by_what_is_usually_left_of_it() -> None:
    clean = torch.full((2, 3, 16, 16), 0.5)
    sign = torch.ones(1, 1, 16, 16)
    sign[..., ::2] = -1
    noisy = clean + torch.tensor([5.0, 20.0]).view(2, 1, 1, 1) / 255 * sign

    def loss(*errors: float) -> float:
        off = torch.tensor(errors).view(2, 1, 1, 1) / 255
        return float(white_loss((clean + off).repeat_interleave(2, 2).repeat_interleave(2, 3), noisy, clean))

    assert loss(0, 0) == 0
    faint, strong = loss(2, 0), loss(0, 2)
    assert faint / strong == pytest.approx((21 / 6) ** 1.2, rel=1e-3)
    assert loss(4, 0) == pytest.approx(4 * faint, rel=1e-3)


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_made() -> None:
    settings = TogetherSettings(counts=(3, 2, 0), parts=2)
    with pytest.raises(UsageError, match="5 crops cannot be learnt from in 2 equal parts"):
        train_together([], [], [(settings, lambda *_: None)], "cpu", say=lambda message: None)


def test_a_step_goes_down_the_loss_and_one_that_is_not_finite_changes_nothing() -> None:
    torch.manual_seed(8)
    network = torch.nn.Linear(3, 1)
    learner = Learner(network, lambda net, given, wanted: (net(given) - wanted).square().mean(), 0.1, 0.99, "cpu")
    given, wanted = torch.randn(64, 3), torch.randn(64, 1)
    first = float((network(given) - wanted).square().mean().detach())
    for _ in range(30):
        learner.learn((given, wanted), 1.0)
    assert float((network(given) - wanted).square().mean().detach()) < first
    assert float(learner.loss) < first
    before = {key: part.clone() for key, part in network.state_dict().items()}
    mean = float(learner.loss)
    learner.learn((given, torch.full_like(wanted, float("nan"))), 0.0)
    assert all(torch.equal(part, before[key]) for key, part in network.state_dict().items())
    assert float(learner.loss) == mean


def _one_small_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every stage, the first student alone."""
    from nsp_pipeline.calibration.together import stages

    for name in ("SCRATCH", "STAGES", "LAST"):
        first = {
            key: dataclasses.replace(stage, students=stage.students[:1]) for key, stage in getattr(stages, name).items()
        }
        monkeypatch.setattr(stages, name, first)
    monkeypatch.setattr(stages, "BEST", "fast")


def _arguments(folder: Path, seconds: int) -> list[str]:
    """Of a short training of all networks, with pictures for it."""
    from PIL import Image

    for name, pictures in (("scenes", _scenes()), ("photos", _scenes(2))):
        (folder / name).mkdir()
        for number, picture in enumerate(pictures):
            noise = np.random.default_rng(number).normal(0, 4, picture.shape) * (name == "photos")
            stored = (picture + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(stored).save(folder / name / f"{number}.jpg", quality=90)
    given = {"seconds": seconds, "workers": 1, "share": 0.02, "parts": 1, "side": SIDE, "held-out": 3}
    options = ["--device", "cpu", *(part for name, value in given.items() for part in (f"--{name}", str(value)))]
    pictures_of_cameras = ["--photos", str(folder / "photos"), "--taken", str(folder / "scenes")]
    return ["all", str(folder / "scenes"), str(folder / "out"), *pictures_of_cameras, *options]


def test_all_kinds_are_trained_in_one_go_and_what_they_save_starts_the_next_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner
    from safetensors.torch import load_file, save_file

    from nsp_pipeline.calibration.together.train import SIZES
    from nsp_pipeline.cli.together import main
    from nsp_pipeline.models.unet import UNet

    _one_small_student(monkeypatch)
    base, out = tmp_path / "base", tmp_path / "out"
    for name in ("white", "unsmoothed", "camera"):
        (base / name).mkdir(parents=True)
        if name == "camera":
            continue
        save_file(UNet(*SIZES["fast"], 2, True).state_dict(), base / name / "fast.safetensors")
    save_file(NoiseNet((16, 32, 48, 64, 64)).state_dict(), base / "estimator.safetensors")
    teacher = base / "camera" / "teacher.safetensors"
    save_file(UNet((32, 64, 128), (1, 1, 2), 2, True).state_dict(), teacher)
    arguments = [*_arguments(tmp_path, 15), "--base", str(base)]
    teacher.rename(base / "elsewhere")
    lacking = CliRunner().invoke(main, arguments)
    assert isinstance(lacking.exception, UsageError)
    assert "teacher.safetensors is missing" in str(lacking.exception)
    assert not out.exists(), "said before anything is made"
    (base / "elsewhere").rename(teacher)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert not (out / "first").exists()
    first = {"white": base / "white", "unsmoothed": base / "unsmoothed", "camera": out / "white"}
    for name, began in {**first, "full-size": out / "camera"}.items():
        weights = load_file(out / name / "fast.safetensors")
        assert all(torch.isfinite(part).all() for part in weights.values())
        start = load_file(began / "fast.safetensors")
        assert any(not torch.equal(weights[key].float(), part.float()) for key, part in start.items())
        assert "loss fast" in (out / name / "log.csv").read_text()


def test_from_nothing_the_estimator_and_networks_for_any_noise_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner
    from safetensors.torch import load_file

    from nsp_pipeline.cli.together import main

    _one_small_student(monkeypatch)
    done = CliRunner().invoke(main, _arguments(tmp_path, 20))
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert "loss estimator" in (out / "first" / "log.csv").read_text()
    made = load_file(out / "first" / "estimator.safetensors")
    for name in ("white", "unsmoothed", "camera", "full-size"):
        assert "loss estimator" not in (out / name / "log.csv").read_text(), "told by what the first stage made"
        kept = load_file(out / name / "estimator.safetensors")
        assert all(torch.equal(kept[key], part) for key, part in made.items())
        weights = load_file(out / name / "fast.safetensors")
        assert all(torch.isfinite(part).all() for part in weights.values())


def test_mixed_weights_lie_on_the_way_and_become_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner
    from safetensors.torch import load_file, save_file

    from nsp_pipeline.calibration.together.train import SIZES
    from nsp_pipeline.cli.shared import exporting
    from nsp_pipeline.cli.together import main
    from nsp_pipeline.models.unet import UNet
    from nsp_pipeline.profiles.bundle import load_profile

    # Words where the graphs belong: to export them takes far longer than all else here.
    monkeypatch.setattr(exporting, "make_onnx", lambda network, mode, *_: mode.encode())
    for number, folder in enumerate(("a", "b")):
        torch.manual_seed(number)
        (tmp_path / folder).mkdir()
        save_file(UNet(*SIZES["fast"], 2, True).state_dict(), tmp_path / folder / "fast.safetensors")
    base, other, target = (tmp_path / name for name in ("a/fast.safetensors", "b/fast.safetensors", "fast.safetensors"))
    mixing = CliRunner().invoke(main, ["mix", str(target), str(base), f"0.25={other}"])
    assert mixing.exit_code == 0, mixing.output
    start, end, made = load_file(base), load_file(other), load_file(target)
    assert all(torch.allclose(made[key], start[key] + 0.25 * (end[key] - start[key]), atol=1e-6) for key in made)

    (tmp_path / "log.csv").write_text("seconds,step,megapixels,loss fast\n60,100,92.16,0.4\n")
    options = ["--log", str(tmp_path / "log.csv"), "--side", "192", "--origin", "painted", "--licence", "CC0"]
    finished = CliRunner().invoke(main, ["profile", str(target), str(tmp_path / "fast.nsp"), *options])
    assert finished.exit_code == 0, finished.output
    spec = load_profile(tmp_path / "fast.nsp").spec
    assert spec.training.settings["batch"] == 25
    assert spec.backbone.sizes["channels"] == list(SIZES["fast"][0])

    one, two, three = (str(tmp_path / name) for name in ("fast.nsp", "two.nsp", "three.nsp"))
    for asked in (["join", one, two, "--unsmoothed", one], ["join", two, three, "--unsmoothed", one, "--white", one]):
        made = CliRunner().invoke(main, asked)
        assert made.exit_code == 0, made.output
    profile = load_profile(tmp_path / "three.nsp")
    assert [part.spec for part in profile.inner] == [spec, spec]
    card = profile.read("CARD.md").decode()
    assert card.count("noise nobody has smoothed") == card.count("noise is white") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "{0}", "{0}/out", "--device", "cpu"], "cannot be read as a picture"),
        (["train", "{0}/none", "{0}/out", "--counts", "1,2"], "three whole numbers"),
        (["train", "{0}/none", "{0}/out", "--parts", "0"], "--parts': 0 is not in the range"),
        (["train", "{0}/none", "{0}/out", "--workers", "-1"], "--workers': -1 is not in the range"),
        (["train", "{0}/none", "{0}/out", "--held-out", "1"], "--held-out': 1 is not in the range"),
        (["mix", "{0}/t", "{0}/a.txt", "half={0}/a.txt"], "no SHARE=FILE"),
    ],
)
def test_what_cannot_be_trained_with_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    from click.testing import CliRunner

    from nsp_pipeline.cli.together import main

    (tmp_path / "a.txt").write_text("a text")
    (tmp_path / "none").mkdir()
    said = CliRunner().invoke(main, [argument.format(tmp_path) for argument in arguments])
    assert said.exit_code == 2
    assert words in said.output
