"""``python -m dsml`` is ``dsml``."""

from __future__ import annotations

from dsml.cli import main

if __name__ == "__main__":  # worker processes import this module again under another name
    main()
