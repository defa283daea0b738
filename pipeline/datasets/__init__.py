"""Sources of images, the prepared store, and everything between the two; a room for what changes together.

``store`` and ``files`` know nothing of the others; ``decoding``, ``readers`` and ``prepare`` build on them in this
order, ``delivery`` on all of those. No package imports its modules: a decoding process starts in a
fraction of a second only as long as nothing but Pillow and numpy is imported.
"""
