import os
import unicodedata
from pathlib import Path

import pytest

from nsp_pipeline.batch.job import Shard
from nsp_pipeline.batch.plan import Plan, PlanRules, make_plan
from nsp_pipeline.errors import UsageError
from nsp_pipeline.frames.write import OutputKind


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def keys(plan: Plan) -> list[str]:
    return sorted(job.key for job in plan.jobs)


def plan_of(folder: Path, **rules: object) -> Plan:
    return make_plan([folder], folder.parent / "out", PlanRules(**rules))  # type: ignore[arg-type]


def plan_of_into(folder: Path, output: Path, **rules: object) -> Plan:
    return make_plan([folder], output, PlanRules(**rules))  # type: ignore[arg-type]


def test_one_folder_keeps_its_tree_below_output(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.jpg", "x/b.PNG", "x/y/c.tiff")
    plan = plan_of(tmp_path / "in")
    assert keys(plan) == ["a.jpg", "x/b.PNG", "x/y/c.tiff"]
    assert all(job.output == tmp_path / "out" / job.key for job in plan.jobs)


def test_several_inputs_keep_their_own_names_and_files_go_to_output(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/deep/2.jpg", "3.jpg")
    plan = make_plan([tmp_path / "a", tmp_path / "b", tmp_path / "3.jpg"], tmp_path / "out", PlanRules())
    assert keys(plan) == ["3.jpg", "a/1.jpg", "b/1.jpg", "b/deep/2.jpg"]


def test_a_folder_given_as_dot_goes_by_its_real_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "holiday", "1.jpg")
    touch(tmp_path, "2.jpg")
    monkeypatch.chdir(tmp_path / "holiday")
    assert keys(make_plan([Path(), Path("../2.jpg")], tmp_path / "out", PlanRules())) == ["2.jpg", "holiday/1.jpg"]


def test_no_recursive_stays_on_top(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.jpg", "x/b.jpg")
    assert keys(plan_of(tmp_path / "in", recursive=False)) == ["a.jpg"]


def test_globs_match_paths_and_names_whatever_their_case(tmp_path: Path) -> None:
    touch(tmp_path / "in", "Canon/1.JPG", "canon/2.png", "nikon/1.jpg", "nikon/previews/1.jpg", "nikon/x_edit.jpg")
    folder = tmp_path / "in"
    assert keys(plan_of(folder, include=("*.jpg",), exclude=("previews", "*_edit.*"))) == ["Canon/1.JPG", "nikon/1.jpg"]
    assert keys(plan_of(folder, include=("canon/*",))) == ["Canon/1.JPG", "canon/2.png"]
    assert keys(plan_of(folder, exclude=("NIKON/",))) == ["Canon/1.JPG", "canon/2.png"]


def test_hidden_files_and_our_own_record_are_no_photos(tmp_path: Path) -> None:
    touch(tmp_path / "in", ".hidden.jpg", "._a.jpg", ".nsp/x.jpg", ".thumbs/1.jpg", "a.jpg")
    assert keys(plan_of(tmp_path / "in")) == ["a.jpg"]


def test_raw_becomes_tiff_by_name_and_by_content(tmp_path: Path) -> None:
    (job,) = plan_of(touch(tmp_path / "in", "a.NEF")).jobs
    assert (job.key, job.kind) == ("a.tif", OutputKind.TIFF)


def test_format_and_suffix_make_the_name(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.b.jpg", "c.JPEG", "d.png")
    plan = plan_of(tmp_path / "in", kind=OutputKind.JPEG, suffix="_clean")
    assert keys(plan) == ["a.b_clean.jpg", "c_clean.JPEG", "d_clean.jpg"]


def test_links_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a/1.jpg", "z/2.jpg")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "beside").symlink_to(folder / "z")
    assert keys(plan_of(folder)) == ["a/1.jpg", "z/2.jpg"]


def test_a_linked_folder_elsewhere_is_entered(tmp_path: Path) -> None:
    touch(tmp_path / "disk2", "1.jpg")
    folder = touch(tmp_path / "in", "0.jpg")
    (folder / "more").symlink_to(tmp_path / "disk2")
    assert keys(plan_of(folder)) == ["0.jpg", "more/1.jpg"]


def clashes(plan: Plan) -> dict[str, str]:
    return {entry.input.name: entry.reason for entry in plan.refused}


def test_two_photos_of_one_name_fail_by_both_names_and_the_rest_is_planned(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.tif", "1.nef", "2.jpg")
    plan = plan_of(folder)
    assert keys(plan) == ["2.jpg"]
    mend = "--on-name-clash number keeps them apart, or leave one out with --exclude"
    assert clashes(plan) == {
        "1.nef": f"it and {folder}/1.tif would both become {tmp_path}/out/1.tif; {mend}",
        "1.tif": f"it and {folder}/1.nef would both become {tmp_path}/out/1.tif; {mend}",
    }


@pytest.mark.parametrize(
    ("one", "other"), [("A.jpg", "a.jpg"), (*(unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")),)]
)
def test_names_that_some_disks_hold_for_one_fail(tmp_path: Path, one: str, other: str) -> None:
    folder = touch(tmp_path / "in", one, other, "b.jpg")
    if len(list(folder.iterdir())) == 2:
        pytest.skip("this disk holds them for one itself")
    plan = plan_of(folder)
    assert keys(plan) == ["b.jpg"]
    assert set(clashes(plan)) == {one, other}


def test_files_of_one_name_from_two_folders_fail(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    inputs = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg", tmp_path / "b" / "2.jpg"]
    plan = make_plan(inputs, tmp_path / "out", PlanRules())
    assert keys(plan) == ["2.jpg"]
    assert [entry.input for entry in plan.refused] == inputs[:2]


def test_a_photo_that_would_be_a_file_where_others_need_a_folder_fails(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "x.png", "x.jpg/1.jpg")
    plan = plan_of(folder, kind=OutputKind.JPEG)
    assert keys(plan) == ["x.jpg/1.jpg"]
    assert "would be its output, and the folder of other outputs too" in clashes(plan)["x.png"]


def test_the_same_input_twice_is_one_job_in_any_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = touch(tmp_path, "1.jpg", "in/2.jpg") / "1.jpg"
    monkeypatch.chdir(tmp_path)
    assert len(make_plan([file, file, Path("1.jpg")], tmp_path / "out", PlanRules()).jobs) == 1
    # Once named is once named: its photos lie in OUTPUT as if it had been given alone.
    assert keys(make_plan([Path("in"), tmp_path / "in"], tmp_path / "out", PlanRules())) == ["2.jpg"]


def test_inputs_in_one_another_have_each_photo_once(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg", "sub/2.jpg")
    for inputs in ([folder, folder / "sub"], [folder / "sub", folder], [folder, folder / "1.jpg"]):
        assert keys(make_plan(inputs, tmp_path / "out", PlanRules())) == ["in/1.jpg", "in/sub/2.jpg"]


def test_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg")
    (tmp_path / "link").symlink_to(folder)
    for output in (folder, tmp_path / "in" / ".." / "in", tmp_path / "link"):
        with pytest.raises(UsageError, match="OUTPUT is also an INPUT"):
            make_plan([folder], output, PlanRules(exclude=("*",)))


def test_output_inside_the_input_needs_an_exclude(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg", "clean/1.jpg")
    with pytest.raises(UsageError, match="--exclude 'clean'"):
        make_plan([folder], folder / "clean", PlanRules())
    for glob in ("clean", "clean/*", "CLEAN/"):
        assert keys(make_plan([folder], folder / "clean", PlanRules(exclude=(glob,)))) == ["1.jpg"]
    assert keys(make_plan([folder], folder / "clean" / "new", PlanRules(exclude=("clean",)))) == ["1.jpg"]
    with pytest.raises(UsageError, match="--exclude"):
        make_plan([folder], folder / "clean", PlanRules(exclude=("clean/*.png",)))


def test_the_exclude_that_is_proposed_for_an_odd_name_is_the_right_one(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg", "clean [2024]/1.jpg")
    with pytest.raises(UsageError) as refused:
        plan_of_into(folder, folder / "clean [2024]")
    proposed = str(refused.value).rpartition("--exclude '")[2].removesuffix("'")
    assert keys(plan_of_into(folder, folder / "clean [2024]", exclude=(proposed,))) == ["1.jpg"]


def test_a_link_to_a_parent_of_input_and_output_does_not_refuse_the_next_run(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg")
    touch(tmp_path, "elsewhere/2.jpg")
    (folder / "up").symlink_to(tmp_path)
    (folder / "best.jpg").symlink_to(tmp_path / "out" / "1.jpg")
    touch(tmp_path / "out", "1.jpg", "up/elsewhere/2.jpg", ".nsp/manifest.sqlite")
    plan = plan_of(folder)
    assert keys(plan) == ["1.jpg", "up/elsewhere/2.jpg"]
    assert not plan.refused


def test_output_reached_through_a_link_in_the_input_is_not_its_own_input(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg")
    touch(tmp_path / "disk2", "2.jpg", "clean/1.jpg")
    (folder / "disk2").symlink_to(tmp_path / "disk2")
    for output in (tmp_path / "disk2" / "clean", folder / "disk2" / "clean"):
        assert keys(plan_of_into(folder, output)) == ["1.jpg", "disk2/2.jpg"]


def test_an_output_that_is_an_original_is_refused_by_whatever_name(tmp_path: Path) -> None:
    file = touch(tmp_path / "in", "1.jpg") / "1.jpg"
    with pytest.raises(UsageError, match="originals are never written over"):
        make_plan([file], tmp_path / "in", PlanRules())
    out = tmp_path / "out"
    out.mkdir()
    os.link(file, out / "1.jpg")
    with pytest.raises(UsageError, match="originals are never written over"):
        make_plan([tmp_path / "in"], out, PlanRules())
    (out / "1.jpg").unlink()
    (out / "1.jpg").symlink_to(file)
    with pytest.raises(UsageError, match="originals are never written over"):
        make_plan([tmp_path / "in"], out, PlanRules(suffix=""))
    assert keys(make_plan([file], tmp_path / "in", PlanRules(suffix="_clean"))) == ["1_clean.jpg"]


def test_an_input_inside_output_may_not_be_written_over(tmp_path: Path) -> None:
    touch(tmp_path / "all", "in/1.jpg", "in/in/1.jpg")
    with pytest.raises(UsageError, match=r"all/in/1\.jpg: this output of .*in/in/1\.jpg is the photo"):
        make_plan([tmp_path / "all" / "in"], tmp_path / "all", PlanRules())


def test_output_may_be_a_file_for_one_file(tmp_path: Path) -> None:
    file = touch(tmp_path, "1.jpg") / "1.jpg"
    plan = make_plan([file], tmp_path / "out" / "clean.png", PlanRules())
    (job,) = plan.jobs
    assert (job.output, job.kind, plan.root) == (tmp_path / "out" / "clean.png", OutputKind.PNG, tmp_path / "out")
    (job,) = make_plan([file], tmp_path / "folder", PlanRules()).jobs
    assert job.output == tmp_path / "folder" / "1.jpg"
    touch(tmp_path / "dir.png", "x")
    (job,) = make_plan([file], tmp_path / "dir.png", PlanRules()).jobs
    assert job.output == tmp_path / "dir.png" / "1.jpg"


@pytest.mark.parametrize(
    ("output", "rules", "message"),
    [
        ("x.psd", PlanRules(), "does not write .psd"),
        ("x.nef", PlanRules(), "does not write .nef"),
        ("x.png", PlanRules(kind=OutputKind.JPEG), "asks for png, --format for jpeg"),
        ("x.png", PlanRules(suffix="_y"), "--suffix"),
    ],
)
def test_an_output_file_that_contradicts_itself_is_refused(
    tmp_path: Path, output: str, rules: PlanRules, message: str
) -> None:
    file = touch(tmp_path, "1.jpg") / "1.jpg"
    with pytest.raises(UsageError, match=message):
        make_plan([file], tmp_path / output, rules)


def test_output_that_is_a_file_does_not_take_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "in/1.jpg", "out")
    with pytest.raises(UsageError, match="OUTPUT is a file"):
        make_plan([tmp_path / "in"], tmp_path / "out", PlanRules())


def test_other_pictures_are_refused_by_name_and_other_files_counted(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg", "2.psd", "x/3.EXR", "a.txt", "b.txt", "c.icc", "README")
    plan = plan_of(folder)
    assert [(entry.key, entry.reason) for entry in plan.refused] == [
        ("2.psd", "format not supported (.psd)"),
        ("x/3.EXR", "format not supported (.exr)"),
    ]
    assert plan.found.ignored == {".txt": 2, ".icc": 1, "no suffix": 1}
    quiet = plan_of(folder, exclude=("*.psd", "*.exr", "*.txt"))
    assert not quiet.refused
    assert ".txt" not in quiet.found.ignored


def test_a_file_named_outright_is_planned_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dat", ".hidden.jpg")
    plan = make_plan([tmp_path / "scan.dat", tmp_path / ".hidden.jpg"], tmp_path / "out", PlanRules())
    assert keys(plan) == [".hidden.jpg", "scan.dat"]


def test_an_input_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothere: there is no such file or folder"):
        make_plan([tmp_path / "nothere"], tmp_path / "out", PlanRules())


def test_pipes_and_dead_links_are_refused_and_not_opened(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dead.jpg").symlink_to(folder / "gone.jpg")
    plan = plan_of(folder)
    assert keys(plan) == ["1.jpg"]
    assert {entry.key: entry.reason for entry in plan.refused} == {
        "pipe.jpg": "not a regular file",
        "dead.jpg": "a link that leads nowhere: what it names does not exist, or is on a disk that is not mounted",
    }


def test_shards_part_the_photos_and_stay_the_same(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", *(f"{number}.jpg" for number in range(60)))
    parts = [keys(plan_of(folder, shard=Shard(index, 3))) for index in (1, 2, 3)]
    assert sorted(key for part in parts for key in part) == keys(plan_of(folder))
    assert all(len(part) > 5 for part in parts)
    assert parts[0] == keys(plan_of(folder, shard=Shard(1, 3)))


def test_collisions_are_seen_across_shards(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "1.tif", "1.nef", "2.jpg")
    parts = [plan_of(folder, shard=Shard(index, 2)) for index in (1, 2)]
    assert [key for plan in parts for key in keys(plan)] == ["2.jpg"]
    assert sorted(entry.input.name for plan in parts for entry in plan.refused) == ["1.nef", "1.tif"]


def test_an_input_that_may_not_be_looked_at_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", forbid)
    with pytest.raises(UsageError, match="in: cannot be looked at: Permission denied"):
        plan_of(tmp_path / "in")
