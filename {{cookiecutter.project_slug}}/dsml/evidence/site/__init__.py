"""The static site: all runs, each of them, its steps and attempts, and runs beside each other.

It is a folder of files that opens from disk, without a network and without a server. ``build``
writes it, ``facts`` reads what a run has left, ``pages`` turns that into HTML with the templates in
``templates``; style and scripts of the pages are in ``assets``.
"""
