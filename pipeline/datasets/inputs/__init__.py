"""From what readers yield to what a model takes."""
