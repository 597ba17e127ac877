"""The static site: all runs, each of them, its steps and attempts, and runs beside each other.

It is a folder of files that opens from disk, without a network and without a server. ``build``
writes it: ``reader`` reads what a run has left into ``facts``, ``pages`` turns these into HTML with
the templates in ``templates``; style and scripts of the pages are in ``assets``.
"""
