"""Names in results that more than one module writes and readers look up."""


def facet_key(facet: int) -> str:
    """Return the name of a facet in results: ``facet_0``, ``facet_1`` and so on."""
    return f"facet_{facet}"
