"""The authors' checkpoints load exactly, and nothing else loads at all."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoints import authors_state, fake_onnx

from nsp_pipeline.errors import OutputError, ProfileError
from nsp_pipeline.models.checkpoint import load_checkpoint, read_state
from nsp_pipeline.models.registry import load_backbone
from nsp_pipeline.profiles.bundle import CARD_FILE, WEIGHTS_FILE
from nsp_pipeline.profiles.from_checkpoint import profile_from_checkpoint

BOTH = pytest.mark.parametrize("backbone", ["dbsn", "tbsn"])

WRAPPINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bare": lambda state: state,
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {}},
    "state_dict": lambda state: {"state_dict": state},
    "module.": lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
}


def saved(tmp_path: Path, content: Any) -> Path:
    torch.save(content, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@BOTH
@pytest.mark.parametrize("wrapping", list(WRAPPINGS))
def test_every_wrapping_gives_the_same_network_and_its_sizes(tmp_path: Path, backbone: str, wrapping: str) -> None:
    state = authors_state(backbone)
    checkpoint = load_checkpoint(saved(tmp_path, WRAPPINGS[wrapping](state)))

    assert checkpoint.backbone == backbone
    assert (
        checkpoint.sizes
        == {
            "dbsn": {"base_channels": 6, "modules": 2, "scale": 2, "local_mean_skip": False},
            "tbsn": {
                "channels": 8,
                "blocks": [1, 2, 1],
                "refinement_blocks": 1,
                "channel_heads": [1, 2, 4],
                "spatial_heads": [2, 2, 3],
                "head_dim": 4,
                "scale": 2,
            },
        }[backbone]
    )
    for key, value in checkpoint.network.state_dict().items():
        assert torch.equal(value, state[key])


@BOTH
def test_the_published_pairs_come_out_exactly(shared_data: Path, backbone: str) -> None:
    """Pairs of input and output that were made with the authors' networks."""
    folder = shared_data.parent / "parity"
    if not folder.is_dir():
        pytest.skip(f"no parity pairs at {folder}")
    stem, peak = {"dbsn": ("dbsn_c16_m3", 1), "tbsn": ("tbsn_d16", 255)}[backbone]
    network = load_checkpoint(folder / f"{stem}.pth").network
    pair = np.load(folder / f"{stem}.npz")
    with torch.inference_mode():
        result = peak * network(torch.from_numpy(pair["x"]) / peak).numpy()

    assert np.abs(result - pair["y"]).max() < 1e-5 * np.abs(pair["y"]).max()


@BOTH
def test_a_profile_says_where_its_weights_come_from_and_what_is_not_known(tmp_path: Path, backbone: str) -> None:
    path = saved(tmp_path, authors_state(backbone))
    profile = profile_from_checkpoint(path, tmp_path / "theirs.nsp", backbone=None, make_onnx=fake_onnx)

    assert profile.name == "theirs"
    assert profile.spec.data.licence == "not stated"
    assert "imported from weights.pth, SHA-256 " in profile.spec.data.origin
    assert str(tmp_path) not in json.dumps(profile.spec.model_dump(mode="json")) + profile.read(CARD_FILE).decode()
    assert "licence of the weights | **not stated**" in profile.read(CARD_FILE).decode()
    assert profile.spec.backbone.tiling == {"dbsn": "exact", "tbsn": "blended"}[backbone]
    network = load_backbone(backbone, profile.spec.backbone.sizes, profile.read(WEIGHTS_FILE))
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(image), load_checkpoint(path).network(image))


def test_an_existing_profile_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "there.nsp").write_bytes(b"")
    with pytest.raises(OutputError, match="exists already"):
        profile_from_checkpoint(tmp_path / "gone.pth", tmp_path / "there.nsp", backbone=None, make_onnx=fake_onnx)


class Runs:
    """A pickle of this leaves a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_named_and_not_run(tmp_path: Path, legacy: bool) -> None:
    trace = tmp_path / "it-ran"
    content = {**authors_state("dbsn"), "extra": Runs(trace)}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ProfileError, match=r"evil\.pth: holds more than weights: loading it would run \S*\w+\.\w+"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not trace.exists()


def test_a_bare_pickle_of_code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Runs(tmp_path / "it-ran")))
    with pytest.raises(ProfileError, match=r"evil\.pth: "):
        load_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "it-ran").exists()


def zipped(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 100, b"GIF89a", b"hello\n" * 50, zipped({"a.txt": b"x"}), zipped({"a/data.pkl": b"\x80\x02."})],
    ids=["empty", "zeros", "gif", "text", "zip", "broken pickle"],
)
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(ProfileError, match=r"other\.pth: not a PyTorch checkpoint, or a damaged one"):
        load_checkpoint(tmp_path / "other.pth")


def test_a_cut_checkpoint_is_refused_at_any_length(tmp_path: Path) -> None:
    content = saved(tmp_path, authors_state("dbsn")).read_bytes()
    for length in range(1, len(content), len(content) // 20):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(ProfileError, match=r"cut\.pth: "):
            load_checkpoint(tmp_path / "cut.pth")


def test_a_zip_that_swells_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsp_pipeline.models.checkpoint.LARGEST", 1 << 20)
    (tmp_path / "bomb.pth").write_bytes(zipped({"a/data.pkl": bytes(5 << 20)}))
    assert (tmp_path / "bomb.pth").stat().st_size < 1 << 16
    with pytest.raises(ProfileError, match=r"5 MiB is too much for a checkpoint \(at most 1\)"):
        load_checkpoint(tmp_path / "bomb.pth")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"gone\.pth: cannot be read: No such file"):
        load_checkpoint(tmp_path / "gone.pth")


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {name: value for name, value in state.items() if name != key}


def also(**entries: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda state: {**state, **{name.replace("__", "."): value for name, value in entries.items()}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("tail.9.bias"), r"1 missing: tail\.9\.bias"),
        (without("head.0.weight"), r"it has no head\.0\.weight"),
        (without("branch2.body.0.mask"), r"1 missing: branch2\.body\.0\.mask"),
        (also(ema=torch.ones(1)), "1 unexpected: ema"),
        (also(tail__9__bias=torch.ones(4)), r"1 of the wrong shape: tail\.9\.bias is \(4,\) where \(3,\) fits"),
        (also(head__0__weight=torch.ones(())), r"head\.0\.weight has the shape \(\)"),
        (also(head__0__weight=torch.ones(10, 3, 1, 1)), "of the wrong shape"),
        (also(tail__2__weight=torch.ones(7, 12, 1, 1)), r"tail\.2\.weight has the shape"),
        (also(tail__2__weight=torch.ones(6, 12, 1, 1)), "fit no pixel shuffle|of the wrong shape"),
        (also(tail__9__bias=torch.full((3,), torch.nan)), r"tail\.9\.bias holds values that are not finite"),
        (also(tail__9__bias=torch.ones(3, dtype=torch.int64)), r"tail\.9\.bias is no plain tensor"),
        (also(tail__9__bias=torch.ones(3).to_sparse()), r"tail\.9\.bias is no plain tensor"),
        (also(tail__9__bias=torch.ones(1).expand(3)), r"tail\.9\.bias is no plain tensor"),
        (also(head__0__weight=torch.ones(1).expand(1 << 40, 3, 1, 1)), r"head\.0\.weight is no plain tensor"),
        (also(epoch=3), "epoch is no tensor but int"),
        (also(branch1__body__0__mask=torch.ones(6, 6, 3, 3)), r"branch1\.body\.0\.mask is not the mask of dbsn"),
        (lambda state: {}, "holds no weights by name"),
        (lambda state: [torch.ones(3)], "holds no weights by name"),
        (lambda state: {3: torch.ones(3)}, "holds no weights by name"),
        (lambda state: {"unet.weight": torch.ones(3)}, r"its keys \(unet\.weight .*no backbone known here: dbsn, tbsn"),
    ],
)
def test_what_is_wrong_with_the_weights_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    with pytest.raises(ProfileError, match=rf"weights\.pth: .*({message})"):
        load_checkpoint(saved(tmp_path, change(authors_state("dbsn"))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("latent.0.norm3.body.weight"), r"1 missing: latent\.0\.norm3\.body\.weight"),
        (without("latent.0.channel_attn.temperature"), r"it has no latent\.0\.channel_attn\.temperature"),
        (
            also(latent__0__spatial_attn__qkv__weight=torch.ones(37, 32, 1, 1)),
            r"latent\.0\.spatial_attn\.qkv\.weight has the shape \(37",
        ),
        (also(patch_embed__proj__mask=torch.ones(8, 3, 3, 3)), r"patch_embed\.proj\.mask is not the mask of tbsn"),
    ],
)
def test_tbsn_is_checked_as_closely(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    with pytest.raises(ProfileError, match=rf"weights\.pth: .*({message})"):
        load_checkpoint(saved(tmp_path, change(authors_state("tbsn"))))


def test_the_wrong_backbone_is_said_to_look_like_the_other(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"not a checkpoint of tbsn: it has no \S+; it looks like one of dbsn"):
        load_checkpoint(saved(tmp_path, authors_state("dbsn")), "tbsn")


def test_half_precision_is_read_as_it_is(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in authors_state("dbsn").items()}
    network = load_checkpoint(saved(tmp_path, state)).network

    assert torch.equal(network.state_dict()["head.0.weight"], state["head.0.weight"].float())
    assert read_state(tmp_path / "weights.pth")["head.0.weight"].dtype == torch.float16
