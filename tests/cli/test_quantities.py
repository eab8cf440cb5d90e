from pathlib import Path

import click
import pytest

import nsp_pipeline
from nsp_pipeline.batch.job import Shard
from nsp_pipeline.cli.shared.quantities import (
    DeviceType,
    DurationType,
    HeightWidthType,
    OrWord,
    ShardType,
    ShareType,
    SizeType,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("90m", 5400), ("30s", 30), ("1h30m", 5400), ("1.5h", 5400), ("2 min", 120)]
)
def test_durations(text: str, seconds: float) -> None:
    assert DurationType().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["8", "h", "8x", "-8h", "", "8h!", "1h and 2m", "0s", "0h0m", "9" * 400 + "h", "nan", "inf", "1e3s"]
)
def test_wrong_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        DurationType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1.5GiB", 1610612736),
        ("800MB", 800_000_000),
        ("2G", 2 << 30),
        ("1024kib", 1 << 20),
        ("5 MiB", 5 << 20),
        ("0.5t", 1 << 39),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert SizeType().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "GiB", "0x", "-1G", "1TBB", "1,5GiB", "9" * 400 + "G", "nan", "inf"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        SizeType().convert(text, None, None)


@pytest.mark.parametrize("value", ["10", 10, "1.5", 2.5, "0"])
def test_a_number_without_a_unit_is_refused_with_what_to_write(value: object) -> None:
    with pytest.raises(click.BadParameter, match=f"'{value}' has no unit: it is no size; write {value}MB or {value}GB"):
        SizeType().convert(value, None, None)
    with pytest.raises(click.BadParameter, match=f"'{value}' has no unit: it is no duration; write {value}m"):
        DurationType().convert(value, None, None)


@pytest.mark.parametrize(("text", "least"), [("1B", 1), ("0MB", 1), ("1000kB", 1), ("15MiB", 16)])
def test_a_size_too_small_to_work_with_is_refused(text: str, least: int) -> None:
    with pytest.raises(click.BadParameter, match=f"is too little to work with; give at least {least}MiB"):
        SizeType(least).convert(text, None, None)


@pytest.mark.parametrize("value", ["nan", "NaN", "-nan", float("nan"), "inf", "-inf", "1.01", "-0.1", "x"])
def test_a_share_is_a_number_from_0_to_1(value: object) -> None:
    with pytest.raises(click.BadParameter):
        ShareType().convert(value, None, None)
    assert ShareType().convert("0.5", None, None) == 0.5


def test_no_option_takes_a_number_that_is_none() -> None:
    plain = []
    for path in (Path(nsp_pipeline.__file__).parent / "cli").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "quantities.py" and ("FloatRange" in text or "type=float" in text or "click.FLOAT" in text):
            plain.append(path.name)
    assert plain == []


def test_heights_and_widths() -> None:
    assert HeightWidthType().convert("1024x768", None, None) == HeightWidthType().convert("1024×768", None, None)
    for text in ("0x5", "5", "5x", "x5", "63x100", "100x300", "9" * 400 + "x100"):
        with pytest.raises(click.BadParameter, match="64 to 200 pixels a side"):
            HeightWidthType(64, 200).convert(text, None, None)


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


def test_several_gpus_are_refused_by_name_where_a_command_works_on_one() -> None:
    for text, one in (("cuda:1,2", "cuda:1"), ("cuda:0,1,2", "cuda:0"), ("all", "cuda")):
        assert DeviceType(several=True).convert(text, None, None) == text
        with pytest.raises(click.BadParameter, match=f"'{text}' is several GPUs.*: take {one}$"):
            DeviceType().convert(text, None, None)
