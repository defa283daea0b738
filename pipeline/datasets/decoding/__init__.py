"""From image bytes to pixels at model size, in processes of their own."""
