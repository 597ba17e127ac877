"""`catalog.yml`: what it declares, and every way to get it wrong."""

from __future__ import annotations

from datetime import date

import pytest

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.contract.problem import ProjectError
from dsml.contract.project import read_project


@pytest.fixture
def refused(make):
    """The message for a catalog, its line before it: `line, what, fix`."""

    def refused(text):
        make.catalog(text)
        where, *rest = make.messages.split("\n")
        assert where.startswith("catalog.yml, line ")
        return [where.removeprefix("catalog.yml, "), *(line.strip() for line in rest)]

    return refused


def test_a_full_catalog_is_read(make):
    make.step("train.fit", "{}", "n: int = 1")
    catalog = make.catalog("""\
        version: 1
        project: digits
        environments:
          dev: {storage: artefacts}
          prod: {storage: "s3://bucket/prefix"}
        paths: {artefact: "{stage}/{notebook}/{experiment}/{partition}/{run_id}/{file}"}
        experiments:
          baseline: {description: As it is.}
          wide: {config: {train.fit: {n: 5}}}
        pipelines:
          training: {select: "*", executor: in_process, workers: 2}
          part: {description: A part., select: [train, train.fit+]}
        register:
          train.fit: {path: stages/train/fit.ipynb}
        """).project.catalog
    assert make.messages == ""
    assert catalog.project == "digits"
    assert {e.name: e.storage for e in catalog.environments.values()} == {
        "dev": "artefacts",
        "prod": "s3://bucket/prefix",
    }
    assert catalog.artefact_pattern.startswith("{stage}/")
    assert catalog.experiments["wide"].config == {"train.fit": {"n": 5}}
    assert (catalog.default_experiment, catalog.default_pipeline) == ("baseline", "training")
    training, part = catalog.pipelines.values()
    assert (training.select, training.executor, training.workers) == (("*",), "in_process", 2)
    assert (part.select, part.executor, part.workers) == (
        ("train", "train.fit+"),
        "threads",
        None,
    )
    assert catalog.register["train.fit"].path == "stages/train/fit.ipynb"


@pytest.mark.parametrize("empty", ["", "experiments:\npipelines: {}\nregister: ~\npaths:\n"])
def test_what_is_left_out_has_a_default(make, empty):
    catalog = make.catalog(f"version: 1\n{empty}").project.catalog
    assert make.messages == ""
    assert list(catalog.environments) == ["dev"]
    assert (catalog.default_experiment, catalog.default_pipeline) == ("baseline", "all")
    assert (catalog.artefact_pattern, catalog.register) == (DEFAULT_PATTERN, {})


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(make):
    make.file("catalog.yml", b"\xef\xbb\xbfversion: 1\r\nproject: \xc3\xa4\r\n")
    assert (make.project.catalog.project, make.messages) == ("ä", "")


def test_a_key_that_overrides_a_merged_one_is_no_duplicate(make):
    make.catalog("""\
        version: 1
        experiments:
          a: &a {description: x}
          b: {<<: *a, description: y}
        """)
    assert make.messages == ""
    assert make.project.catalog.experiments["b"].description == "y"


# --- the file


def test_a_project_without_a_catalog_says_where_it_would_be(tmp_path):
    with pytest.raises(ProjectError) as caught:
        read_project(tmp_path)
    assert str(caught.value) == (
        "catalog.yml\n  is missing\n"
        "  a project has its catalog.yml at the top: go there, or restore it from git"
    )


MEND = "  mend the line; indent with spaces, quote text that holds ': ' or '#'"


def no_month() -> str:
    """What this Python says of a thirteenth month."""
    with pytest.raises(ValueError, match="month") as error:
        date(2024, 13, 1)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "catalog.yml\n  is no mapping\n  start it with: version: 1"),
        (b"# nothing yet\n", "catalog.yml\n  is no mapping\n  start it with: version: 1"),
        (b"- version: 1\n", "catalog.yml\n  is no mapping\n  start it with: version: 1"),
        (b"version 1\n", "catalog.yml\n  is no mapping\n  start it with: version: 1"),
        (b"project: \xe4", "catalog.yml\n  is no UTF-8 text\n  save it as UTF-8"),
        (
            b"version: 1\nproject: a: b\n",
            f"catalog.yml, line 2\n  is no YAML: mapping values are not allowed\n{MEND}",
        ),
        (
            b"version: 1\npaths:\n\tartefact: x\n",
            "catalog.yml, line 3\n  is no YAML: found character that cannot start any token\n"
            + MEND,
        ),
        (b"register: *r", f"catalog.yml, line 1\n  is no YAML: found undefined alias\n{MEND}"),
        (
            b"version: 1\nproject: !!python/object:os.system {}\n",
            (
                "catalog.yml, line 2\n  is no YAML: could not determine a constructor for the tag "
                f"'tag:yaml.org,2002:python/object:os.system'\n{MEND}"
            ),
        ),
        (
            b"project: !!timestamp soon",
            f"catalog.yml\n  is no YAML: a value does not fit the tag before it\n{MEND}",
        ),
        (
            b"version: 1\nproject: 2024-13-45",
            f"catalog.yml, line 2\n  is no YAML: 2024-13-45 is no date: {no_month()}\n{MEND}",
        ),
        (b"? [a]\n: 1\n", f"catalog.yml, line 1\n  is no YAML: found unhashable key\n{MEND}"),
        (
            b"version: 1\n---\nversion: 1\n",
            f"catalog.yml, line 2\n  is no YAML: but found another document\n{MEND}",
        ),
    ],
)
def test_a_file_that_is_no_catalog_is_refused(make, content, message):
    make.file("catalog.yml", content)
    assert make.messages.replace(" in this context", "") == message


def test_control_characters_are_refused(make):
    make.file("catalog.yml", b"project: \0")
    assert make.messages.startswith("catalog.yml\n  is no YAML: unacceptable character #x0000")


# --- keys and values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2", ["line 1", "version: 2 is unknown", "write: version: 1"]),
        ("version: '1'", ["line 1", "version: '1' is unknown", "write: version: 1"]),
        ("project: a", ["line 1", "version: None is unknown", "write: version: 1"]),
    ],
)
def test_only_version_1_is_known(refused, text, message):
    assert refused(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiment: {}", ["line 2", "experiment: no such key", "did you mean 'experiments'?"]),
        (
            "42: {}",
            [
                "line 2",
                "42: no such key",
                (
                    "known are: defaults, environments, experiments, models, paths, pickles, "
                    "pipelines, preload and 4 more"
                ),
            ],
        ),
        (
            "paths:\n  artifact: x",
            ["line 3", "paths.artifact: no such key", "did you mean 'artefact'?"],
        ),
        (
            "environments:\n  dev:\n    store: x",
            ["line 4", "environments.dev.store: no such key", "did you mean 'storage'?"],
        ),
        (
            "experiments:\n  a: {parameters: {}}",
            [
                "line 3",
                "experiments.a.parameters: no such key",
                "known are: config, description",
            ],
        ),
        (
            "pipelines:\n  a: {selct: x}",
            ["line 3", "pipelines.a.selct: no such key", "did you mean 'select'?"],
        ),
    ],
)
def test_an_unknown_key_is_refused_on_every_level(refused, text, message):
    assert refused(f"version: 1\n{text}\n") == message


def test_an_unknown_key_of_an_entry_is_refused(make):
    make.step("a.b").catalog("version: 1\nregister:\n  a.b: {path: stages/a/b.ipynb, inn: {}}\n")
    assert make.messages == (
        "catalog.yml, line 3\n  register.a.b.inn: no such key\n  did you mean 'ins'?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("experiments: [a]", ["line 2", "experiments: ['a'] is no mapping"]),
        ("experiments: a", ["line 2", "experiments: 'a' is no mapping"]),
        ("environments: 1", ["line 2", "environments: 1 is no mapping"]),
        ("pipelines: []", ["line 2", "pipelines: [] is no mapping"]),
        ("register: true", ["line 2", "register: True is no mapping"]),
        ("paths: x", ["line 2", "paths: 'x' is no mapping"]),
        ("experiments:\n  a: b", ["line 3", "experiments.a: 'b' is no mapping"]),
        (
            "experiments:\n  a:\n    config: [b]",
            ["line 4", "experiments.a.config: ['b'] is no mapping"],
        ),
    ],
)
def test_what_has_to_be_a_mapping_is_refused_otherwise(refused, text, message):
    assert refused(f"version: 1\n{text}\n") == [*message, "write it as {key: value}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project: 1", ["line 2", "project: 1 is no text"]),
        ("project:", ["line 2", "project: None is no text"]),
        (
            "environments:\n  dev: {storage: 1.5}",
            ["line 3", "environments.dev.storage: 1.5 is no text"],
        ),
        (
            "environments:\n  dev: {mlflow: true}",
            ["line 3", "environments.dev.mlflow: True is no text"],
        ),
        (
            "experiments:\n  a: {description: [x]}",
            ["line 3", "experiments.a.description: ['x'] is no text"],
        ),
        (
            "pipelines:\n  a: {description: 2024-01-01}",
            ["line 3", "pipelines.a.description: datetime.date(2024, 1, 1) is no text"],
        ),
        ("pipelines:\n  a: {executor: 1}", ["line 3", "pipelines.a.executor: 1 is no text"]),
        ("paths:\n  artefact: {}", ["line 3", "paths.artefact: {} is no text"]),
    ],
)
def test_what_has_to_be_text_is_refused_otherwise(refused, text, message):
    assert refused(f"version: 1\n{text}\n") == [*message, "put it in quotes"]


@pytest.mark.parametrize("mlflow", ["''", '" "'])
def test_an_mlflow_that_is_named_by_nothing_is_refused(refused, mlflow):
    assert refused(f"version: 1\nenvironments:\n  dev: {{mlflow: {mlflow}}}\n") == [
        "line 3",
        "environments.dev.mlflow: names no MLflow",
        "write a folder, such as mlflow: .mlflow, or an address; or leave the key out",
    ]


SECRET = "the address holds a user name, a password or a key"
LEAVE_OUT = "leave it out: credentials come from the environment or the cloud's own chain"
NO_BUCKET = "the address names no bucket, or leaves it"
FORM = "write a folder, or an address such as s3://bucket/prefix"


@pytest.mark.parametrize(
    ("storage", "what", "fix"),
    [
        ("s3://AKIA:s3cr3t@bucket/x", SECRET, LEAVE_OUT),
        ("s3://AKIA@bucket/x", SECRET, LEAVE_OUT),
        ("s3://bucket/x?X-Amz-Signature=s3cr3t", SECRET, LEAVE_OUT),
        ("gs://bucket/x?token=s3cr3t", SECRET, LEAVE_OUT),
        ("abfs://c:s3cr3t@account.dfs.core.windows.net/x", SECRET, LEAVE_OUT),
        ("abfs://c@account.dfs.core.windows.net/x?sig=s3cr3t", SECRET, LEAVE_OUT),
        ("ftp://user:s3cr3t@host/x", SECRET, LEAVE_OUT),
        (
            "s3://bucket/x?versionId=1",
            "an address of a storage has no '?' and no '#'",
            LEAVE_OUT,
        ),
        ("s4://bucket/x", "there is no storage of the kind 's4'", "known are: abfs, gs, s3"),
        ("S3://bucket/x", "there is no storage of the kind 'S3'", "known are: abfs, gs, s3"),
        ("file:///data", "a folder is no address", "write its path without file://"),
        ("s3://", NO_BUCKET, FORM),
        ("s3:///x", NO_BUCKET, FORM),
        ("s3://bucket/../other", NO_BUCKET, FORM),
        ("''", "names no storage", FORM),
    ],
)
def test_a_storage_that_cannot_be_one_is_refused_without_a_look_at_it(refused, storage, what, fix):
    told = refused(f"version: 1\nenvironments:\n  dev:\n    storage: {storage}\n")
    assert told == ["line 4", f"environments.dev.storage: {what}", fix]
    assert "s3cr3t" not in str(told)


@pytest.mark.parametrize(
    "storage",
    [
        "s3://bucket/a prefix",
        "gs://bucket",
        "abfs://container@account.dfs.core.windows.net/x",
        "az://container/x",
        "~/data@home",
        "/data",
    ],
)
def test_folders_and_addresses_of_object_storage_are_storages(make, storage):
    make.catalog(f"version: 1\nenvironments:\n  dev: {{storage: '{storage}'}}\n")
    assert make.messages == ""


def test_a_password_in_the_address_of_mlflow_is_refused(refused):
    told = refused("version: 1\nenvironments:\n  dev: {mlflow: 'https://me:s3cr3t@host'}\n")
    assert told == ["line 3", f"environments.dev.mlflow: {SECRET}", LEAVE_OUT]


@pytest.mark.parametrize(
    ("dev", "test"),
    [
        ("artefacts", "artefacts"),
        ("artefacts", "./x/../artefacts/"),
        ("artefacts", "artefacts/test"),
        ("build/dev", "."),
        ("s3://bucket/x", "s3://bucket/x/test"),
        ("s3://bucket/x/", "s3a://bucket"),
    ],
)
def test_two_environments_that_share_their_storage_are_refused(refused, dev, test):
    told = refused(
        f"version: 1\nenvironments:\n  dev: {{storage: '{dev}'}}\n  test: {{storage: '{test}'}}\n"
    )
    assert told == [
        "line 4",
        "environments.test.storage: environment 'dev' keeps its artefacts there, too",
        "give it a storage of its own, such as storage: build/test",
    ]


def test_environments_beside_each_other_share_nothing(make):
    make.catalog(
        "version: 1\nenvironments: {dev: {}, test: {storage: artefacts-test}, "
        "a: {storage: s3://bucket/a}, b: {storage: s3://bucket/ab}, c: {storage: gs://bucket/a}}\n"
    )
    assert make.messages == ""


@pytest.mark.parametrize("size", ["'10'", "10 gb", "-1 GB", "1e3 MB", "GB"])
def test_a_size_has_a_unit(refused, size):
    assert refused(f"version: 1\nenvironments:\n  dev: {{input_cache: {size}}}\n") == [
        "line 3",
        f"environments.dev.input_cache: '{size.strip(chr(39))}' is no size",
        "write a number and a unit: 500 MB, 10 GB",
    ]


@pytest.mark.parametrize(
    ("size", "expected"),
    [("500 MB", 500 * 10**6), ("1.5TB", 15 * 10**11), ("2 kB", 2000), ("0 GB", 0)],
)
def test_the_room_for_copies_is_a_size(make, size, expected):
    make.catalog(f"version: 1\nenvironments: {{dev: {{input_cache: {size}}}, x: {{storage: x}}}}\n")
    environments = make.project.catalog.environments
    assert environments["dev"].cache_bytes == expected
    assert environments["x"].cache_bytes == 10**10


@pytest.mark.parametrize("select", ["1", "{a: b}", "[1]", "[a, [b]]"])
def test_a_selection_is_a_list_of_names(refused, select):
    where, what, fix = refused(f"version: 1\npipelines:\n  a: {{select: {select}}}\n")
    assert where == "line 3"
    assert what.startswith("pipelines.a.select: ")
    assert what.endswith(" is no list of names")
    assert fix == "write select: [a, b]"


@pytest.mark.parametrize(
    ("workers", "shown"),
    [("0", "0"), ("-1", "-1"), ("1.5", "1.5"), ("true", "True"), ("all", "'all'")],
)
def test_a_number_of_workers_is_one_or_more(refused, workers, shown):
    assert refused(f"version: 1\npipelines:\n  a: {{workers: {workers}}}\n") == [
        "line 3",
        f"pipelines.a.workers: {shown} is no number of workers",
        "write 1 or more",
    ]


def test_an_unknown_executor_is_refused(refused):
    assert refused("version: 1\npipelines:\n  a: {executor: multi_process}\n") == [
        "line 3",
        "pipelines.a.executor: there is no executor 'multi_process'",
        "did you mean 'multiprocess'?",
    ]


@pytest.mark.parametrize("name", ["my-pipeline", "2nd", "class"])
def test_a_pipeline_is_named_by_an_identifier(refused, name):
    where, what, fix = refused(f"version: 1\npipelines:\n  {name}: {{}}\n")
    assert (where, what) == ("line 3", f"pipelines.{name}: the name is no identifier")
    assert fix.startswith("name it '")


@pytest.mark.parametrize("name", ["a b", "a/b", ".a", "-a", "größe", "'*'", "''"])
@pytest.mark.parametrize("section", ["experiments", "environments"])
def test_names_that_no_folder_can_have_are_refused(refused, section, name):
    plain = name.strip("'")
    assert refused(f"version: 1\n{section}:\n  {name}: {{}}\n") == [
        "line 3",
        f"{section}.{plain}: {plain!r} is no usable name",
        "use letters, digits, '_', '-' and '.'",
    ]


def test_a_key_that_stands_twice_is_refused(refused):
    assert refused("version: 1\nexperiments:\n  a: {}\n  b: {}\n  a: {}\n") == [
        "line 5",
        "experiments.a: stands twice",
        "keep one of the two",
    ]


@pytest.mark.parametrize(
    ("pattern", "what", "fix"),
    [
        (
            "{experiment}/{stage}/{notebook}/{file}",
            "'{experiment}/{stage}/{notebook}/{file}' lacks {run_id}",
            "two artefacts would share a path: add what is missing",
        ),
        (
            "{run_id}/{file}",
            "'{run_id}/{file}' lacks {experiment}, {stage}, {notebook}",
            "two artefacts would share a path: add what is missing",
        ),
        ("{run}/{file}", "no placeholder 'run'", "did you mean 'run_id'?"),
        (
            "{}/{file}",
            "no placeholder ''",
            "known are: experiment, file, notebook, partition, run_id, stage",
        ),
        ("{run_id.a}/{file}", "no placeholder 'run_id.a'", "did you mean 'run_id'?"),
        (
            "{run_id/{file}",
            "'{run_id/{file}' is no pattern: unexpected '{' in field name",
            "write placeholders as {name}",
        ),
        (
            "{run_id}}/{file}",
            "'{run_id}}/{file}' is no pattern: Single '}' encountered in format string",
            "write placeholders as {name}",
        ),
        (
            "{run_id:>10}/{file}",
            "'{run_id:>10}/{file}' formats a placeholder",
            "write placeholders as {name}, and nothing more",
        ),
        (
            "{run_id!r}/{file}",
            "'{run_id!r}/{file}' formats a placeholder",
            "write placeholders as {name}, and nothing more",
        ),
    ],
)
def test_a_path_pattern_that_cannot_be_filled_is_refused(refused, pattern, what, fix):
    assert refused(f"version: 1\npaths:\n  artefact: {pattern!r}\n") == [
        "line 3",
        f"paths.artefact: {what}",
        fix,
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        f"/{DEFAULT_PATTERN}",
        f"../{DEFAULT_PATTERN}",
        f"a//{DEFAULT_PATTERN}",
        f"{DEFAULT_PATTERN}/",
        f"./{DEFAULT_PATTERN}",
        DEFAULT_PATTERN.replace("/", "\\"),
    ],
)
def test_a_path_pattern_that_leaves_the_storage_is_refused(refused, pattern):
    assert refused(f"version: 1\npaths:\n  artefact: '{pattern}'\n") == [
        "line 3",
        f"paths.artefact: {pattern!r} leaves the storage folder",
        "write a relative path with forward slashes",
    ]


def test_a_text_that_no_path_can_be_is_refused(refused):
    told = refused(f'version: 1\npaths:\n  artefact: "a\\0b/{DEFAULT_PATTERN}"\n')
    assert told == [
        "line 3",
        r"paths.artefact: holds the sign \0, which no path can",
        "take it out",
    ]
    told = refused('version: 1\nenvironments:\n  dev: {storage: "s3://me:s3cr3t@bucket\\0"}\n')
    what = r"environments.dev.storage: holds the sign \0, which no path can"
    assert told == ["line 3", what, "take it out"]


# --- what refers to steps


@pytest.mark.parametrize(
    ("config", "what", "fix"),
    [
        ("train.ft: {n: 1}", "train.ft: there is no step 'train.ft'", "did you mean 'train.fit'?"),
        ("train: {n: 1}", "train: there is no step 'train'", "did you mean 'train.fit'?"),
        ("train.fit: {m: 1}", "train.fit.m: there is no parameter 'm'", "known are: day, n, rates"),
        ("train.fit: {n: 1.5}", "train.fit.n: 1.5 is no int", "give a value of type int"),
        ("train.fit: {n: '1'}", "train.fit.n: '1' is no int", "give a value of type int"),
        ("train.fit: {n: yes}", "train.fit.n: True is no int", "give a value of type int"),
        ("train.fit: {n: }", "train.fit.n: None is no int", "give a value of type int"),
        (
            "train.fit: {rates: [1, a]}",
            "train.fit.rates: [1, 'a'] is no list[float]",
            "give a value of type list[float]",
        ),
        ("train.fit: [n]", "train.fit: ['n'] is no mapping", "write it as {key: value}"),
        (
            "load.it: {n: 1}",
            "load.it.n: there is no parameter 'n'",
            "the notebook has no parameters cell",
        ),
    ],
)
def test_an_experiment_that_sets_what_cannot_be_set_is_refused(make, config, what, fix):
    make.step("train.fit", "{}", "n: int = 1\nrates: list[float] = []\nday = None")
    make.step("load.it")
    make.catalog(f"version: 1\nexperiments:\n  a:\n    config:\n      {config}\n")
    assert make.messages == (f"catalog.yml, line 5\n  experiments.a.config.{what}\n  {fix}")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2024-01-01", "datetime.date(2024, 1, 1)"),
        (".inf", "inf"),
        ("[.nan]", "[nan]"),
        ("{1: a}", "{1: 'a'}"),
        ("!!set {a}", "{'a'}"),
        ("!!binary YQ==", "b'a'"),
        ("&a [*a]", "[[...]]"),
    ],
)
def test_a_value_that_a_notebook_cannot_be_given_is_refused(make, value, shown):
    make.step("train.fit", "{}", "day = None")
    make.catalog(f"version: 1\nexperiments:\n  a: {{config: {{train.fit: {{day: {value}}}}}}}\n")
    assert make.messages == (
        "catalog.yml, line 3\n"
        f"  experiments.a.config.train.fit.day: {shown} is nothing that JSON can hold\n"
        "  put it in quotes, so that it is text, or write plain numbers, lists and mappings"
    )


@pytest.mark.parametrize(
    ("token", "fix"),
    [("trian", "did you mean 'train'?"), ("+train.ft+", "did you mean 'train.fit'?")],
)
def test_a_pipeline_that_selects_what_is_not_there_is_refused(make, token, fix):
    make.step("train.fit").catalog(f"version: 1\npipelines:\n  a: {{select: [train, {token}]}}\n")
    assert make.messages == (
        f"catalog.yml, line 3\n  pipelines.a.select: '{token}' is no stage and no step\n  {fix}"
    )


def test_a_selection_in_dagsters_own_syntax_is_left_to_dagster(make):
    make.catalog("version: 1\npipelines: {a: {select: 'group:\"train\"'}}\n")
    assert make.messages == ""


# --- environments


def test_the_environment_is_dev_until_it_is_named(make, monkeypatch):
    make.catalog("version: 1\nenvironments: {prod: {storage: x}, dev: {storage: y}}\n")
    monkeypatch.delenv("DSML_ENV", raising=False)
    assert make.project.catalog.environment().storage == "y"
    monkeypatch.setenv("DSML_ENV", "prod")
    assert make.project.catalog.environment().storage == "x"


def test_an_unknown_environment_is_answered_with_the_nearest(make, monkeypatch):
    make.catalog("version: 1\nenvironments: {prod: {storage: x}}\n")
    monkeypatch.setenv("DSML_ENV", "prd")
    with pytest.raises(ProjectError) as caught:
        make.project.catalog.environment()
    assert str(caught.value) == (
        "DSML_ENV\n  there is no environment 'prd'\n  did you mean 'prod'?"
    )


def test_an_environment_limits_what_runs_at_once_and_may_be_silent(make):
    make.catalog(
        "version: 1\nenvironments:\n"
        "  dev: {}\n"
        "  test: {storage: build/test, workers: 2, notify: false}\n"
    )
    catalog = read_project(make.root).catalog
    dev, test = catalog.environments["dev"], catalog.environments["test"]
    assert (dev.workers, test.workers) == (None, 2)
    assert (dev.notify, test.notify) == (True, False)


@pytest.mark.parametrize(
    ("value", "what", "fix"),
    [
        ("workers: 0", "workers: 0 is no number of workers", "write 1 or more"),
        ("notify: maybe", "notify: 'maybe' is neither true nor false", "write true or false"),
    ],
)
def test_limits_and_silence_of_an_environment_are_checked(refused, value, what, fix):
    told = refused(f"version: 1\nenvironments:\n  dev: {{{value}}}\n")
    assert told == ["line 3", f"environments.dev.{what}", fix]


def test_a_metric_that_is_no_text_is_not_said_to_be_missing_as_well(make):
    make.catalog("version: 1\nmodels:\n  m: {metric: 5, holdout: a.b.c}\n")
    assert make.messages.count("models.m.metric:") == 1
