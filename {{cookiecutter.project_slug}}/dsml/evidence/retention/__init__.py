"""Retention: what of the storage is needed no more, and how it goes.

``inventory`` reads what is there, ``plan`` decides what goes and why the rest stays, ``sweep``
removes it, ``leftovers`` finds what killed processes have left.
"""
