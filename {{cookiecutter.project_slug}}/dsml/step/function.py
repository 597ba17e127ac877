"""Python steps: ``step_fn`` is called with what its step reads, and what it returns is saved.

Positional parameters are given ins, as objects; keyword-only ones are given parameters of the step
or, without a default, resources. ``context`` is given the context.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

from dsml.contract.problem import ProjectError, suggest
from dsml.step import formats
from dsml.step.context import Context, open_context

CONTEXT = "context"


class ResourceError(Exception):
    """A resource could not be made."""


def run_step(step: str, path: str) -> None:
    """Run the function of a file as a step: what the cell of an executed notebook does.

    Args:
        step: the catalog path of the step.
        path: the file, relative to the project. The notebook runs in its folder.

    Raises:
        ProjectError: run by hand, an upstream step has not been run.
        ResourceError: a resource could not be made.
        TypeError: what the function returned are not the outs.
    """
    from dsml.step.standalone import function_setting

    file = Path.cwd() / PurePosixPath(path).name
    context = open_context(lambda: function_setting(file, step))
    _show(context)
    module = _imported(file, PurePosixPath(path).with_suffix("").as_posix().replace("/", "."))
    _call(module.step_fn, context, file)


def run_by_hand(step_fn: Callable[..., Any], step: str | None = None) -> None:
    """Run the function of a Python step from its file, for ``if __name__ == "__main__"``.

    It is given the newest published artefacts of the experiment in ``DSML_EXPERIMENT`` (default:
    the first of the catalog), or those of the run in ``DSML_RUN``; outs go to a scratch folder.

    Args:
        step_fn: the function.
        step: the catalog path of the step; only needed where the catalog wires the file to several.

    Raises:
        SystemExit: there is no such step, or an upstream step has not been run; its text is the
            message.
    """
    from dsml.step.standalone import function_setting

    file = Path(inspect.getfile(inspect.unwrap(step_fn))).resolve()
    try:
        context = open_context(lambda: function_setting(file, step))
    except ProjectError as error:
        raise SystemExit(str(error)) from None
    _call(step_fn, context, file)
    for name, out in context.outs.items():
        if out.exists():
            context.log.info("%s is in %s", name, out)


def _show(context: Context) -> None:
    """Show the parameters, ins and outs above what the function prints."""
    from IPython import display

    show: Any = display.display  # it has no types
    show(context)


def _imported(file: Path, name: str) -> ModuleType:
    """Import a file under its own name, so that what stands below ``__main__`` does not run."""
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickles and dataclasses look there for what the file defines
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _call(step_fn: Callable[..., Any], context: Context, file: Path) -> None:
    """Call the function and save what it returns; resources are closed in any case."""
    failure: BaseException | None = None
    with ExitStack() as stack:
        try:
            resources = _Resources(file, context, stack)
            _save(step_fn(**_arguments(step_fn, context, resources)), context)
        except BaseException as error:
            failure = error
            raise
    if failure is not None:  # a resource has swallowed it
        raise failure


def _arguments(
    step_fn: Callable[..., Any], context: Context, resources: _Resources
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(step_fn).parameters.items():
        is_parameter = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        if name == CONTEXT:
            given[name] = context
        elif is_parameter and parameter.default is inspect.Parameter.empty:
            given[name] = resources.make(name)
        elif is_parameter and name in context.config:
            given[name] = context.config[name]
        elif not is_parameter and name in context.ins:
            given[name] = _loaded(name, context)
    return given


def _loaded(name: str, context: Context) -> Any:
    """The object of an in; its path where its format is unknown."""
    path = context.ins[name]
    files = path.values() if isinstance(path, dict) else [path]
    return context.load(name) if all(map(formats.is_known, files)) else path


# --- what it returns


def _save(returned: object, context: Context) -> None:
    if returned is not None and not context.outs:
        context.log.warning("step_fn returned something, and the step has no outs: it is not kept")
    for name, value in _outs_of(returned, list(context.outs)).items():
        out = context.outs[name]
        if isinstance(value, os.PathLike) and not formats.is_known(out):
            shutil.copyfile(value, out)
        else:
            context.save(name, value)


def _outs_of(returned: object, names: Collection[str]) -> dict[str, Any]:
    """The outs by name. None is no value: nothing is written for it.

    Args:
        returned: of one out the value itself; of several a tuple in their order, or a mapping.
        names: the outs of the step, in their order.

    Raises:
        TypeError: there are several outs, and it is neither; or it has too many or too few.
    """
    if not names:
        return {}
    if len(names) == 1:
        found: Mapping[str, Any] = dict.fromkeys(names, returned)
    elif returned is None:
        found = {}
    else:
        found = _several(returned, names)
    return {name: value for name, value in found.items() if value is not None}


def _several(returned: object, names: Collection[str]) -> Mapping[str, Any]:
    listed = ", ".join(names)
    if isinstance(returned, Mapping):
        for name in returned:
            if name not in names:
                nearest = suggest(str(name), names)
                raise TypeError(
                    f"step_fn returned '{name}', and the step has no such out; {nearest}"
                )
        return returned
    if not isinstance(returned, tuple):
        kind = type(returned).__name__
        raise TypeError(
            f"step_fn returned {kind}: for several outs return a tuple in the order {listed}, "
            "or a dict by name"
        )
    if len(returned) != len(names):
        raise TypeError(f"step_fn returned {len(returned)} values for {len(names)} outs: {listed}")
    return dict(zip(names, returned, strict=True))


# --- resources


class _Resources:
    """Makes resources, and has them closed when the step is over."""

    def __init__(self, file: Path, context: Context, stack: ExitStack) -> None:
        self._file = file
        self._context = context
        self._stack = stack

    def make(self, name: str) -> Any:
        """The resource of that name: what its function returns, or yields, or is entered to.

        Raises:
            ResourceError: it is named nowhere, or its function failed.
        """
        factory = self._factories().get(name)
        if factory is None:
            raise ResourceError(f"'{name}': the catalog names no resource for this parameter")
        module, _, function = factory.partition(":")
        try:
            return self._opened(getattr(importlib.import_module(module), function))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ResourceError(f"'{name}' ({factory}): {told}") from error

    def _factories(self) -> dict[str, str]:
        from dsml.contract.catalog import read_catalog
        from dsml.contract.project import find_root

        catalog = read_catalog(find_root(self._file.parent), [])
        return {**catalog.resources, **catalog.environment().resources}

    def _opened(self, function: Callable[..., Any]) -> Any:
        given = {CONTEXT: self._context} if _takes_context(function) else {}
        make = contextmanager(function) if inspect.isgeneratorfunction(function) else function
        made = make(**given)
        if hasattr(type(made), "__enter__") and hasattr(type(made), "__exit__"):
            return self._stack.enter_context(made)
        return made


def _takes_context(function: Callable[..., Any]) -> bool:
    try:
        return CONTEXT in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a function in C that doesn't tell
        return False
