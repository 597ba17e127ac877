"""YAML with line numbers: plain values, and the line on which each key stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from dsml.contract.declared import Keys, line_in

# The C parser is an order of magnitude faster; it is missing from a few builds of PyYAML.
LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(LOADER):  # type: ignore[misc]  # which of the two is known when it runs
    """Says where a date stands that is none."""

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        """A date or a time."""
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError as error:
            what = f"{node.value} is no date: {error}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from None


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)


@dataclass
class YamlDocument:
    """A parsed document: its value, the line of each key path, keys that stand twice."""

    value: Any
    lines: dict[Keys, int] = field(default_factory=dict)
    duplicates: list[Keys] = field(default_factory=list)

    def line_of(self, *keys: str) -> int:
        """The line of the innermost of ``keys`` that exists, counted from 1."""
        return line_in(self.lines, keys, 1)


def load_yaml(text: str) -> YamlDocument:
    """Parse one YAML document; keys become text.

    Raises:
        yaml.YAMLError: the text is no YAML.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        document = YamlDocument(None)
        if node is not None:
            _walk(node, (), document, set())  # first, because constructing resolves merge keys
            document.value = _constructed(loader, node)
    finally:
        loader.dispose()
    return document


def _constructed(loader: Any, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    except (AttributeError, KeyError):  # PyYAML's way of refusing `!!timestamp soon`
        raise yaml.YAMLError("a value does not fit the tag before it") from None


def _walk(node: yaml.Node, keys: Keys, document: YamlDocument, seen_nodes: set[int]) -> None:
    document.lines.setdefault(keys, node.start_mark.line + 1)
    if id(node) in seen_nodes:  # an alias
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = (*keys, key.value)
            if key.value in seen:
                document.duplicates.append(name)
            seen.add(key.value)
            document.lines[name] = key.start_mark.line + 1
            _walk(value, name, document, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _walk(item, (*keys, str(i)), document, seen_nodes)
