"""Cards beside checkpoints."""

import json
import re
from pathlib import Path

import pytest

from gaitbench.checkpoints import read_checkpoint
from gaitbench.datamodules import CasiaB
from gaitbench.model_card import BEGIN, CARD, END, UNTESTED, with_figures
from tests.conftest import Bench, newest_run


def test_fit_writes_it_and_test_adds_what_it_found(
    bench: Bench, walkers: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = bench("fit", "--trainer.max_epochs=1", "--seed_everything=7")
    card = (run / CARD).read_text()
    store = CasiaB(str(walkers), cache=str(cache)).open_store()
    rows = dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", card, re.MULTILINE))
    assert "arXiv 2204.07855" in card
    assert rows["fingerprint"] == store.fingerprint
    assert rows["trained on"] == "20 samples of 2 people"
    assert rows["set aside for tests"] == "20 samples of 2 people"
    assert rows["validated on"].startswith("nobody")
    assert (rows["epochs"], rows["seed"]) == ("1", "7")
    assert rows["checkpoints"] == "last.ckpt"
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["gaitbench"]["seed"] == 7
    assert "class_path: gaitbench.methods.GaitGraph2" in card
    assert UNTESTED in card
    assert "Not to be used for" in card

    checkpoint = run / "checkpoints" / "last.ckpt"
    judged = bench("test", f"--ckpt_path={checkpoint}")
    assert not (judged / CARD).exists()
    told = (run / CARD).read_text()
    assert UNTESTED not in told
    metrics = json.loads((judged / "metrics.json").read_text())
    name = "casia_b.cross_view"
    figures = metrics[name]["NM"]
    low, high = (f"{100 * value:.1f}" for value in figures["rank1_ci95"])
    line = f"| NM | rank-1 | {100 * figures['rank1']:.1f} | {low} to {high} | {figures['n']} |"
    assert line in told.splitlines()
    head = f"### {name}: last.ckpt on CasiaB {store.fingerprint[:16]}"
    assert told.count(head) == 1
    assert told.replace(told[told.index(BEGIN) : told.index(END)], f"{BEGIN}\n{UNTESTED}\n") == card

    # once more with another distance is another figure, and the same again is not
    for _ in range(2):
        assert bench.status("test", f"--ckpt_path={checkpoint}", "--evaluation.distance=l1") == 0
    heads = re.findall("^### .*", told, re.MULTILINE)
    assert len(heads) == len(metrics)
    again = re.findall("^### .*", (run / CARD).read_text(), re.MULTILINE)
    assert again == [*heads, *(f"{line}, distance l1" for line in heads)]

    (run / CARD).write_text("my own words")
    assert bench.status("test", f"--ckpt_path={checkpoint}") == 0
    assert (run / CARD).read_text() == "my own words"
    assert "no figures are added" in caplog.text


def test_without_checkpoints_there_is_no_card(bench: Bench) -> None:
    words = ("--trainer.enable_checkpointing=false", "--trainer.callbacks=[]")
    assert bench.status("fit", *words) == 0
    assert not (newest_run(bench.out) / CARD).exists()


def test_blocks_of_the_same_head_are_replaced() -> None:
    card = f"a\n{BEGIN}\n{UNTESTED}\n{END}\nz\n"
    once = with_figures(card, {"p: x": "| 1 |", "p: y": "| 2 |"})
    assert once == f"a\n{BEGIN}\n### p: x\n\n| 1 |\n\n### p: y\n\n| 2 |\n{END}\nz\n"
    assert with_figures(once, {"p: x": "| 3 |"}) == once.replace("1", "3")
    assert with_figures("a\nz", {"p": "q"}) is None
