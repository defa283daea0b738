import pytest

from pipeline.paper.stability import seed_spread


def metrics(accuracies):
    """facet -> accuracy of each seed."""
    n_seeds = len(next(iter(accuracies.values())))
    seeds = {
        str(seed): {
            "facets": {
                facet: {"factors": {"digit": {"accuracy_paper": values[seed], "accuracy": values[seed] / 2}}}
                for facet, values in accuracies.items()
            }
        }
        for seed in range(n_seeds)
    }
    return {"experiment": "x", "unhealthy_seeds": [9], "seeds": seeds, "selected": seeds["0"]}


def test_takes_the_facet_that_is_best_on_average():
    found = seed_spread(metrics({"facet_0": [0.9, 0.1, 0.2], "facet_1": [0.5, 0.6, 0.7]}), "digit")
    assert (found.facet, found.n_seeds, found.n_unhealthy) == ("facet_1", 3, 1)
    assert (found.mean, found.lowest, found.highest) == (pytest.approx(0.6), 0.5, 0.7)
    assert found.std == pytest.approx(0.1)
    assert found.by_seed == {"0": 0.5, "1": 0.6, "2": 0.7}


def test_the_other_convention_and_a_single_seed():
    found = seed_spread(metrics({"facet_0": [0.4]}), "digit", "accuracy")
    assert (found.mean, found.std) == (0.2, None)
