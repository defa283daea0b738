"""Reaching files and URLs safely: below their folder, within bounds, downloaded once."""
