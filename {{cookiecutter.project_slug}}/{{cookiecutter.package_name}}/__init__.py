"""Code that the notebooks of this project share."""
