"""`catalog.schema.json`: made from the reader's own classes, and of one mind with the reader."""

from __future__ import annotations

import copy
import json
import re

import jsonschema
import pytest
import yaml
from catalog_schema import SCHEMA_FILE, schema, text
from hypothesis import given
from hypothesis import strategies as st

from dsml.contract.catalog import DEFAULT_PATTERN, catalog_of
from dsml.contract.yaml_lines import load_yaml

from .conftest import RUNTIME

FULL = """\
version: 1
project: digits
environments:
  dev: {storage: artefacts, mlflow: .mlflow}
  prod: {storage: "s3://bucket/prefix"}
paths: {artefact: "{stage}/{notebook}/{experiment}/{partition}/{run_id}/{file}"}
experiments:
  baseline: {description: As it is.}
  wide: {config: {train.fit: {n: 5, rates: [1, 2]}}}
pipelines:
  training: {select: "*", executor: in_process, workers: 2}
  part: {description: A part., select: [train, train.fit+], engine: dagstermill}
register:
  train.fit: {path: a.ipynb, ins: {x: a.b.c}, outs: {y: y.txt}, after: [a.b]}
"""
VALIDATOR = jsonschema.Draft202012Validator(schema())


def both(catalog):
    """What reader and schema say to a catalog: whether it is valid.

    That two environments share a storage is for the reader alone: a schema compares no values.
    """
    problems = []
    document = load_yaml(catalog)
    read = isinstance(document.value, dict)
    if read:
        catalog_of(document, problems)
    valid = read and all(problem.name == "shared-storage" for problem in problems)
    return (valid, VALIDATOR.is_valid(document.value))


def test_the_file_is_what_the_classes_say():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == text(), "run: python tools/catalog_schema.py"


def test_it_is_a_schema_itself_of_the_draft_it_names():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_key_has_a_description():
    def keys(part):
        if isinstance(part, dict):
            yield from part.get("properties", {}).items()
            for inner in part.values():
                yield from keys(inner)

    found = dict(keys(schema()))
    assert {"version", "storage", "artefact", "config", "select", "workers", "after"} <= set(found)
    assert [name for name, value in found.items() if not value.get("description")] == []


def test_patterns_are_such_that_editors_can_read_them():
    """Editors read ECMAScript's expressions: no possessive, atomic or inline-flag groups."""
    patterns = re.findall(r'"pattern": "(.+)"', text())
    assert patterns
    assert not any(re.search(r"\(\?(?!:|!|=)|[*+?}]\+|\\[AZ]", pattern) for pattern in patterns)


def test_the_first_line_of_a_generated_catalog_names_it():
    first = (RUNTIME / "catalog.yml").read_text(encoding="utf-8").split("\n")[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (RUNTIME / path).samefile(SCHEMA_FILE)


VALID = [
    FULL,
    "version: 1\n",
    "version: 1.0\n",
    "version: 1\nexperiments:\npipelines: {}\nregister: ~\npaths:\nenvironments:\n",
    "version: 1\nexperiments: {a: , b-1.x: {config: }, c: {config: {x.y: }}}\n",
    "version: 1\npipelines: {a: {workers: , select: []}}\n",
    "version: 1\nregister: {any thing: {path: x, ins: {a: 1}}}\n",
    "version: 1\npipelines: {a: {steps: }}\n",
    "version: 1\npipelines: {a: {steps: {b: {run: f.py, outs: , after: , retries: , pool: }}}}\n",
    "version: 1\npipelines: {a: {steps: {b: {run: f.py, ins: {x: c.d, y: e.f.g}, after: c}}}}\n",
    "version: 1\npipelines: {a: {steps: {b: {run: f.py, outs: x, after: [c, d.e]}}}}\n",
    "version: 1\npipelines: {a: {steps: {b: {run: f.py, outs: [x, y.csv], config: {n: 1}}}}}\n",
    "version: 1\npipelines: {a: {steps: {b: {run: f.py, outs: {x: {file: x.csv}}, cache: no}}}}\n",
    "version: 1\nexperiments: {a: &a {description: x}, b: {<<: *a, description: y}}\n",
]
INVALID = [
    "{}\n",
    "[]\n",
    "version: 2\n",
    "version: true\n",
    "version: '1'\n",
    "version:\n",
    *(
        f"version: 1\n{rest}\n"
        for rest in (
            "projet: x",
            "project: 5",
            "project:",
            "project: 2024-01-01",
            "environments: [a]",
            "environments: x",
            "environments: {a b: {}}",
            "environments: {a: x}",
            "environments: {a: {storag: x}}",
            "environments: {a: {storage: 1}}",
            "environments: {a: {mlflow: }}",
            "environments: {a: {mlflow: ''}}",
            "environments: {a: {mlflow: ' '}}",
            "paths: {artifact: x}",
            "paths: []",
            "paths: {artefact: 1}",
            "experiments: {'': {}}",
            "experiments: {-a: {}}",
            "experiments: {é: {}}",
            "experiments: {a: {config: [x]}}",
            "experiments: {a: {config: {x.y: 1}}}",
            "experiments: {a: {description: [x]}}",
            "pipelines: {a-b: {}}",
            "pipelines: {1a: {}}",
            "pipelines: {class: {}}",
            "pipelines: {a: {executor: slurm}}",
            "pipelines: {a: {executor: }}",
            "pipelines: {a: {engine: papermill}}",
            "pipelines: {a: {workers: 0}}",
            "pipelines: {a: {workers: true}}",
            "pipelines: {a: {workers: 1.5}}",
            "pipelines: {a: {workers: '2'}}",
            "pipelines: {a: {select: }}",
            "pipelines: {a: {select: {b: c}}}",
            "pipelines: {a: {select: [1]}}",
            *(
                f"pipelines: {{a: {{steps: {steps}}}}}"
                for steps in (
                    "[b]",
                    "{b: }",
                    "{b: f.py}",
                    "{b: {}}",
                    "{b: {run: }}",
                    "{b: {run: [f]}}",
                    "{1b: {run: f.py}}",
                    "{class: {run: f.py}}",
                    *(
                        f"{{b: {{run: f.py, {wrong}}}}}"
                        for wrong in (
                            "ran: f.py",
                            "ins: [x]",
                            "ins: {x: a}",
                            "ins: {x: a.b.c.d}",
                            "ins: {x: 1}",
                            "ins: {x-y: a.b}",
                            "outs: 1",
                            "outs: [1]",
                            "outs: {x: 1}",
                            "outs: {x: {optional: true}}",
                            "outs: {x: {file: x, opt: true}}",
                            "after: {c: d}",
                            "after: [a.b.c]",
                            "after: [1]",
                            "config: [n]",
                            "map: 1",
                            "retries: -1",
                            "timeout: 0",
                            "timeout: true",
                            "cache: 1",
                            "pool: 1",
                            "tags: {a: 1}",
                            "description: 1",
                        )
                    ),
                )
            ),
            "register: [a]",
            "register: {a.a: {pat: x}}",
            "register: {a.a: {path: 1}}",
            "register: {a.a: {ins: x}}",
            "register: {a.a: {after: [[x]]}}",
        )
    ),
]


@pytest.mark.parametrize("catalog", VALID)
def test_what_the_reader_takes_the_schema_takes(catalog):
    assert both(catalog) == (True, True)


@pytest.mark.parametrize("catalog", INVALID)
def test_what_the_reader_refuses_the_schema_refuses(catalog):
    assert both(catalog) == (False, False)


PARTS = ("experiment", "stage", "notebook", "run_id", "file")
PIECE = st.one_of(
    st.sampled_from([f"{{{name}}}" for name in (*PARTS, "partition", "run", "")]),
    st.sampled_from(["/", "/", "//", ".", "..", "a", "-", "{{", "}}", "{", "}", "\\", "é", " "]),
)


@given(
    pieces=st.lists(PIECE, max_size=6),
    order=st.permutations(range(5)),
    whole=st.booleans(),
    missing=st.sets(st.integers(0, 4), max_size=1),
)
def test_the_path_of_an_artefact_is_judged_alike(pieces, order, whole, missing):
    kept = [f"{{{PARTS[i]}}}" for i in order if i not in missing]
    pattern = "/".join([*kept, "".join(pieces)]) if pieces or not whole else "/".join(kept)
    catalog = yaml.safe_dump({"version": 1, "paths": {"artefact": pattern}}, allow_unicode=True)
    valid, by_schema = both(catalog)
    assert valid == by_schema, pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "/" + DEFAULT_PATTERN,
        DEFAULT_PATTERN + "/",
        "./" + DEFAULT_PATTERN,
        "../" + DEFAULT_PATTERN,
        DEFAULT_PATTERN.replace("/", "\\"),
        DEFAULT_PATTERN.replace("/", "//"),
        "{{run_id}}/{file}",
        DEFAULT_PATTERN.replace("{run_id}", "{{run_id}}"),
        DEFAULT_PATTERN + "{",
        "",
    ],
)
def test_a_path_that_the_reader_refuses_the_schema_refuses(pattern):
    assert both(yaml.safe_dump({"version": 1, "paths": {"artefact": pattern}})) == (False, False)


ODD = st.sampled_from(
    [None, True, 0, -1, 1, 2, 1.5, "", "x", "a b", "in_process", "class", [], ["x"], [1], {},
     {"x": 1}, {"x": {}}, {"storage": "x"}, {"select": "x"}, {"path": "x"}]
)  # fmt: skip


def places(value, at=()):
    """The keys of all values in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from places(inner, (*at, key))


PLACES = sorted(places(yaml.safe_load(FULL)))


@given(
    changes=st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["set", "add", "rename", "drop"]), ODD),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_is_changed_in_a_catalog_both_judge_it_alike(changes):
    catalog = copy.deepcopy(yaml.safe_load(FULL))
    for keys, how, odd in changes:
        inner = catalog
        for key in keys[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or keys[-1] not in inner:
            continue
        if how == "set":
            inner[keys[-1]] = odd
        elif how == "add":
            inner["extra"] = odd
        else:
            value = inner.pop(keys[-1])
            inner.update({f"{keys[-1]} x": value} if how == "rename" else {})
    valid, by_schema = both(yaml.safe_dump(catalog))
    assert valid == by_schema, json.dumps(catalog)
