import csv

import numpy as np

from pipeline.training.history import columns, train_row, validation_row, write_history


def test_columns_of_two_facets():
    assert columns(2) == [
        *("seed", "epoch", "phase", "split", "elbo", "log_px"),
        *("kl_0", "kl_z_0", "kl_c_0", "kl_1", "kl_z_1", "kl_c_1"),
    ]


def test_rows_add_up():
    row = train_row(3, 7, 1, np.array([-100.0, 4.0, 8.0]))
    assert row == {"seed": 3, "epoch": 7, "phase": 1, "split": "train", "elbo": -112.0, "log_px": -100.0} | {
        "kl_0": 4.0,
        "kl_1": 8.0,
    }
    row = validation_row(3, 7, 1, np.array([-100.0, 4.0, 1.0, 8.0, 0.5]))
    assert (row["elbo"], row["kl_0"], row["kl_z_0"], row["kl_c_0"]) == (-113.5, 5.0, 4.0, 1.0)
    assert (row["kl_1"], row["kl_z_1"], row["kl_c_1"]) == (8.5, 8.0, 0.5)


def test_the_file_leaves_empty_what_a_row_does_not_know(tmp_path):
    rows = [
        train_row(0, 0, 0, np.array([-100.123456789, 4.0, 8.0])),
        validation_row(0, 0, 0, np.array([-90.0, 4.0, 1.0, 8.0, 0.5])),
    ]
    write_history(tmp_path / "history.csv", rows, 2)
    with (tmp_path / "history.csv").open() as file:
        train, validation = csv.DictReader(file)
    assert list(train) == columns(2)
    assert (train["log_px"], train["kl_z_0"], train["kl_1"], train["split"]) == ("-100.123", "", "8", "train")
    assert (validation["kl_c_1"], validation["elbo"]) == ("0.5", "-103.5")
