"""``dsml doctor``: whether all that a project needs of its machine is there and works.

Each check is a function in ``machine`` or ``services``, registered with the name it is told by.
"""
