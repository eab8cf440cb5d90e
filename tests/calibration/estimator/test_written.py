"""The estimator that ships, made of the weights that trainings go on from."""

from importlib.resources import files
from pathlib import Path

from nsp_pipeline.cli.estimator import main

WEIGHTS = Path(__file__).parents[3] / "benchmarks" / "weights" / "estimator.safetensors"


def test_what_ships_is_made_of_the_weights_in_the_repository(tmp_path: Path) -> None:
    target = tmp_path / "estimator.onnx"
    main(["write", str(WEIGHTS), str(target)], standalone_mode=False)
    assert target.read_bytes() == files("nsp_pipeline.noise").joinpath("estimator.onnx").read_bytes()
