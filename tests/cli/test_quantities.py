import click
import pytest

from nsp_pipeline.batch.job import Shard
from nsp_pipeline.cli.shared.quantities import DeviceType, DurationType, OrWord, ShardType, SizeType


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("90m", 5400), ("30s", 30), ("1h30m", 5400), ("1.5h", 5400), ("2 min", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert DurationType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["8", "h", "8x", "-8h", "", "8h!", "1h and 2m"])
def test_wrong_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        DurationType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5GiB", 1610612736),
        ("800MB", 800_000_000),
        ("2G", 2 << 30),
        ("1kib", 1024),
        ("12345", 12345),
        ("5 MiB", 5 << 20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert SizeType().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "GiB", "0", "-1G", "1TBB", "1,5GiB"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        SizeType().convert(text, None, None)


def test_shards() -> None:
    assert ShardType().convert("2/8", None, None) == Shard(2, 8)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "a/b", "1", "1/1001"])
def test_wrong_shards(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no shard"):
        ShardType().convert(text, None, None)


def test_a_word_stands_for_none() -> None:
    option = OrWord("auto", click.IntRange(32))
    assert option.convert("AUTO", None, None) is None
    assert option.convert("64", None, None) == 64
    with pytest.raises(click.BadParameter):
        option.convert("3", None, None)


def test_devices() -> None:
    assert [DeviceType().convert(text, None, None) for text in ("auto", "cpu", "cuda", "cuda:1")]
    for text in ("gpu", "cuda:", "CPU0", ""):
        with pytest.raises(click.BadParameter, match="is no device"):
            DeviceType().convert(text, None, None)
