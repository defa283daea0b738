"""What a model was told of its facets and what it made of that, in words: the same ones on the page and everywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.text import counted


def describe_help(hints: Sequence[Mapping[str, int]], judged: Mapping[str, Mapping[str, Any]]) -> list[str | None]:
    """Return a sentence or two for every facet that had help; None for one that had none.

    Args:
        hints: ``hints`` of ``model.json``.
        judged: ``hints`` of ``score/metrics.json``.
    """
    return [_of_facet(counts, judged.get(f"facet_{facet}")) for facet, counts in enumerate(hints)]


def _of_facet(counts: Mapping[str, int], judged: Mapping[str, Any] | None) -> str | None:
    if not counts["trained"] and not counts["kept_aside"]:
        return None
    said = (
        f"It was told what it is about by hints on {counted(counts['trained'], 'image')}."
        if counts["trained"]
        else "It was not told what it is about: all hints on it were kept aside."
    )
    if judged is None:
        return f"{said} No two images are kept aside of which something is known, so nothing tells how well it worked."
    facts = [f"by clusters {_right(judged['clusters'])}"]
    if "groups" in judged:
        facts.append(f"by groups {_right(judged['groups'])}")
    n_pairs = judged["clusters"]["same"] + judged["clusters"]["different"]
    return (
        f"{said} Of {counted(n_pairs, 'pair')} of {judged['kept_aside']} images that were kept aside, "
        f"{'; '.join(facts)}."
    )


def _right(pairs: Mapping[str, Any]) -> str:
    right = pairs["same_right"] + pairs["different_right"]
    parts = [
        f"{pairs[f'{kind}_right']} of {pairs[kind]} that are {what}"
        for kind, what in (("same", "the same"), ("different", "different"))
        if pairs[kind]
    ]
    return f"{right} come out right ({', '.join(parts)}; chance {pairs['chance']:.0f})"
