"""What the README shows is run here: its example, its table of lessons, and a practitioner's script built on it."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


TO_A_VERDICT, LEARN2MIX = re.findall(r"```python\n(.*?)```", README, re.S)


def test_from_a_csv_to_a_verdict_in_twelve_lines(tmp_path, capsys, monkeypatch):
    """As printed, but for the number of seeds and epochs: 3 and 5 here."""
    assert len([line for line in TO_A_VERDICT.splitlines() if line.strip()]) <= 12
    rng = np.random.default_rng(0)
    ill = (rng.random(600) < 0.1).astype(int)
    columns = {
        name: rng.normal(size=600) + shift * ill for name, shift in (("age", 1), ("pulse", 2), ("weight", 0))
    }
    pd.DataFrame({**columns, "ill": ill}).sample(frac=1, random_state=1).to_csv(
        tmp_path / "patients.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    quick = TO_A_VERDICT.replace("range(10)", "range(3)").replace("epochs=20", "epochs=5")
    assert quick.count("range(3)") == quick.count("epochs=5") == 1
    names = {}
    exec(compile(quick, "README.md", "exec"), names)
    said = capsys.readouterr().out
    for name in ("class_weights", "learn2mix", "gradient boosting", "uniform", "shuffled", "verdict"):
        assert name in said
    found = names["experiments"].differences(names["runs"], "balanced_accuracy", baseline_decision="tuned")
    assert set(found.verdict) <= {"better", "worse", "practically equal", "cannot tell"}
    assert (found.seeds == 3).all() and not names["runs"].fresh.any()


def test_the_example_runs_as_printed_and_moves_the_mix():
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([300, 60, 12]))
    model = nn.Linear(5, 3)
    names = {
        "labels": labels, "x": torch.randn(len(labels), 5), "model": model,
        "num_classes": 3, "optimizer": torch.optim.Adam(model.parameters()),
    }  # fmt: skip
    exec(compile(LEARN2MIX, "README.md", "exec"), names)
    assert not torch.allclose(names["control"].mix, torch.tensor([300, 60, 12]).double() / 372, atol=0.05)
    assert torch.allclose(names["sampler"].mix, names["control"].mix)


def test_the_table_lists_every_lesson_and_no_other():
    listed = re.findall(r"^\| \[\d\d [^\]]+\]\(notebooks/([^)]+)\)", README, re.M)
    there = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert listed == there


def test_the_lesson_table_gives_minutes_and_a_promise():
    for row in re.findall(r"^\| \[\d\d .*$", README, re.M):
        _, _, minutes, promise, _ = [cell.strip() for cell in row.split("|")]
        assert re.fullmatch(r"\d+ · \d+ min", minutes), row
        assert len(promise) > 20, row


SCRIPT = """
    import csv, sys
    import torch
    from torch.utils.data import DataLoader, Dataset
    {example_imports}

    class Cases(Dataset):
        def __init__(self, rows): self.rows = {{number: row for number, row in enumerate(rows)}}
        def __len__(self): return len(self.rows)
        def __getitem__(self, number):  # a dictionary: only real ints find a row
            *x, y = self.rows[number]
            return torch.tensor([float(v) for v in x]), int(y)

    if __name__ == "__main__":
        torch.manual_seed(0)
        rows = list(csv.reader(open(sys.argv[1])))
        labels = [int(row[-1]) for row in rows]
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        sampler = ClassMixBatchSampler(labels, batch_size=64, mix=class_prior(labels))
        control = Learn2Mix(class_prior(labels), mixing_rate=0.3)
        loader = DataLoader(Cases(rows), batch_sampler=sampler, num_workers=2)
        history = fit(model, loader, cross_entropy, optimizer, rounds=6, num_groups=2,
                      on_round_end=lambda s: sampler.set_mix(control.update(s.class_loss, s.class_count)))
        print("rare share", round(control.mix[1].item(), 3), "losses", history[-1].class_loss.tolist())
"""


def test_a_practitioner_trains_on_a_csv_with_a_custom_dataset_and_workers(tmp_path):
    generator = torch.Generator().manual_seed(0)
    rows = []
    for label, count in ((0, 950), (1, 50)):
        points = torch.randn(count, 2, generator=generator) + 1.5 * label
        rows += [f"{a:.4f},{b:.4f},{label}" for a, b in points.tolist()]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    imports = [
        line for line in LEARN2MIX.splitlines() if line.startswith("from ") and "DataLoader" not in line
    ]
    script = textwrap.dedent(SCRIPT).format(example_imports="\n".join(imports))
    (tmp_path / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "train.py", "cases.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    share = float(done.stdout.split()[2])
    assert 0.2 < share < 0.9, (
        done.stdout
    )  # from 0.05: the rare class has the larger loss and gets more of the batch
