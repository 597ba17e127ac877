"""What a project declares: notebooks, catalog and register, read without running any of them.

Standard library and PyYAML only, because the template's hooks import this package in
cookiecutter's environment.
"""
