"""One line of the template for each feature, and the test that has to fail once the line is broken.

The lines of a group are broken together, in one copy of the template: none is in the way of the
test of another.
"""

from __future__ import annotations

from typing import NamedTuple


class Broken(NamedTuple):
    """A line of a file, what stands there instead, and the test that notices, by what it then says.

    ``file`` is a path in the template; one that begins with ``./`` is in the folder of the project.
    Where ``line`` is empty, the file gets the name ``instead``.
    """

    feature: str
    file: str
    line: str
    instead: str
    test: str
    says: str


_FILES = "tests/test_bake_files.py::test_"
_PROJECT = "tests/test_bake_project.py::test_"
_POST = "tests/test_hooks_post_gen.py::test_"
_PRE = "tests/test_hooks_pre_gen.py::test_"
_DEPLOY = "tests/test_deploy.py::test_"
_DIGITS = "tests/test_digits_pipelines.py::test_"
_DOCS = "tests/test_docs.py::test_"
_AUDIT = "tests/test_audit.py::test_"
_RUNTIME = "tests/runtime/test_"
_REFUSED = f"{_POST}the_register_holds_every_notebook_of_the_example"

_ANSWERS = [
    Broken(
        "a label for each choice",
        "cookiecutter.json",
        '"BSD-3-Clause": "BSD',
        '"BSD": "BSD',
        f"{_FILES}every_question_has_a_label_and_every_choice_too[license]",
        "'BSD-3-Clause'",
    ),
    Broken(
        "answers that are refused before a question is asked",
        "hooks/pre_prompt.py",
        "        return True\n    return False",
        "        return False\n    return False",
        "tests/test_hooks_pre_prompt.py::test_an_answer_that_is_no_jinja_is_told_by_its_name[{{ x]",
        "{{ x",
    ),
    Broken(
        "answers that are refused",
        "hooks/pre_gen_project.py",
        '        *check_email(answers["author_email"]),\n',
        "",
        f"{_PRE}an_address_that_packaging_tools_would_not_take_is_refused[a@b]",
        "'must be an e-mail address",
    ),
    Broken(
        "names that a package may not shadow",
        "hooks/pre_gen_project.py",
        '"pandas_stubs", "pandera",',
        '"pandas_stubs",',
        f"{_PRE}every_dependency_of_a_project_is_a_refused_package_name",
        "'pandera'",
    ),
    Broken(
        "a slug made of the name",
        "cookiecutter.json",
        "'project_' ~ words",
        "'p_' ~ words",
        f"{_FILES}a_slug_is_derived_from_any_name[2024 sales-project_2024_sales]",
        "'p_2024_sales'",
    ),
    Broken(
        "answers in quotes",
        "./pyproject.toml",
        "description = {{ cookiecutter.__quoted_description }}",
        'description = "{{ cookiecutter.description }}"',
        f"{_FILES}hostile_answers_arrive_unchanged_in_files_that_can_be_read"
        """[with "double" quotes]""",
        "TOMLDecodeError",
    ),
    Broken(
        "a file on condition",
        "./dashboard/{% if cookiecutter.dashboard == 'streamlit' %}app.py{% endif %}",
        "",
        "app.py",
        f"{_FILES}the_digits_example_has_exactly_these_files",
        "'dashboard/app.py'",
    ),
    Broken(
        "a dependency on condition",
        "./pyproject.toml",
        """{%- if cookiecutter.example == 'digits' %}\n  "scikit""",
        """{%- if cookiecutter.example %}\n  "scikit""",
        f"{_FILES}only_the_digits_example_needs_scikit_learn",
        "'scikit-learn' is contained here",
    ),
    Broken(
        "no folder of a part that was not chosen",
        "hooks/post_gen_project.py",
        '"data", "deploy", "stages")',
        '"data", "stages")',
        f"{_POST}no_folder_is_left_empty",
        "/deploy')",
    ),
    Broken(
        "the oldest Python",
        "./pyproject.toml",
        'python_version = "{{ cookiecutter.python_version }}"',
        'python_version = "3.11"',
        f"{_FILES}the_oldest_python_reaches_every_tool",
        "'3.11' == '3.12'",
    ),
    Broken(
        "a licence with its holder",
        "templates/licenses/MIT.txt",
        "{{ cookiecutter.author_name }}",
        "the authors",
        f"{_FILES}a_licence_is_written_in_full_with_its_holder"
        "[MIT-MIT License-OTHER DEALINGS IN THE\\nSOFTWARE.\\n]",
        "the authors",
    ),
    Broken(
        "a first commit on main",
        "hooks/post_gen_project.py",
        '"refs/heads/main"',
        '"refs/heads/master"',
        f"{_POST}the_project_starts_with_one_commit_on_main_and_nothing_left_to_commit",
        "'master' == 'main'",
    ),
    Broken(
        "what to do next",
        "hooks/post_gen_project.py",
        '["make run", "make dagit"]',
        '["make run", "make ui"]',
        f"{_POST}the_summary_tells_what_was_made_and_checked_and_the_next_three_commands",
        "'make ui'",
    ),
]

_PROJECT_FILES = [
    Broken(
        "what an update leaves alone",
        "./pyproject.toml",
        '  ".mlflow",\n',
        "",
        f"{_FILES}with_tracking_its_folder_is_hidden_from_git_and_from_updates",
        "'.mlflow' in",
    ),
    Broken(
        "environments",
        "./catalog.yml",
        "test: {storage: build/test}",
        "test: {storage: build/tests}",
        f"{_FILES}without_tracking_nothing_is_installed_or_configured_for_it",
        "'build/tests'",
    ),
    Broken(
        "the steps of a pipeline",
        "./catalog.yml",
        "select: predict",
        "select: [predict, load]",
        f"{_DIGITS}training_comes_first_and_has_every_step_but_those_of_inference_and_release",
        "'load.digits'",
    ),
    Broken(
        "a schedule and a sensor in the catalog",
        "./catalog.yml",
        'schedule: {cron: "0 6 * * 1", timezone: Europe/Berlin}\n  new_data',
        'schedule: {cron: "0 6 * * 1", timezone: Europe/Paris}\n  new_data',
        f"{_DIGITS}retraining_is_scheduled_for_monday_morning_and_new_files_start_a_run",
        "'Europe/Paris'",
    ),
    Broken(
        "the experiments of the catalog",
        "./catalog.yml",
        "load.digits: {n_images: 600}",
        "load.digits: {n_images: 6000}",
        f"{_DIGITS}the_experiments_are_what_their_descriptions_say",
        "6000",
    ),
    Broken(
        "nothing is sent to Dagster's makers",
        "./.dagster/dagster.yaml",
        "telemetry:\n  enabled: false",
        "telemetry:\n  enabled: true",
        f"{_FILES}dagster_tells_nobody_of_its_use",
        "True is False",
    ),
    Broken(
        "notebooks that are the same bytes everywhere",
        "./.gitattributes",
        "* text=auto eol=lf\n*.ipynb text eol=lf",
        "* text=auto",
        f"{_FILES}a_text_has_the_same_bytes_on_every_system_and_a_picture_is_left_alone",
        "unspecified",
    ),
    Broken(
        "an argument of a target of make",
        "./Makefile",
        "$(if $(experiment),--experiment '$(experiment)') \\\n  $(if $(partition)",
        "$(if $(partition)",
        f"{_PROJECT}make_run_passes_on_what_it_is_given[given1-run --experiment wide]",
        "'run' == 'run --experiment wide'",
    ),
    Broken(
        "one Dagster home for all",
        "./Makefile",
        "export DAGSTER_HOME := $(CURDIR)/.dagster",
        "export DAGSTER_HOME := $(CURDIR)",
        f"{_PROJECT}make_gives_every_command_the_dagster_home_of_the_project",
        ".dagster'",
    ),
    Broken(
        "a UI for this machine only",
        "./Makefile",
        "dev --host 127.0.0.1",
        "dev --host 0.0.0.0",
        f"{_PROJECT}the_ui_listens_on_this_machine_only",
        "dev --host 0.0.0.0",
    ),
    Broken(
        "targets of make that are no files",
        "./Makefile",
        ".PHONY: help install run",
        ".PHONY: help run",
        f"{_PROJECT}every_target_is_declared_to_be_no_file[digits]",
        "'install'",
    ),
    Broken(
        "a command of the README",
        "./README.md",
        "| `make doctor` | `uv run dsml doctor` |",
        "| `make doctor` | |",
        f"{_PROJECT}the_readme_explains_every_target_and_its_equivalent_without_make[digits]",
        "['doctor', 'clean']",
    ),
    Broken(
        "a command of a page",
        "./docs/retention.md",
        "dsml gc --keep 20",
        "dsml gc --kept 20",
        f"{_DOCS}every_command_that_is_shown_exists_with_its_options[digits]",
        "No such option",
    ),
    Broken(
        "a piece of a catalog in a page",
        "./docs/schedules.md",
        "schedule: {cron:",
        "schedule: {crom:",
        f"{_DOCS}every_piece_of_a_catalog_in_a_page_is_one",
        "crom",
    ),
    Broken(
        "a declaration in a page",
        "./docs/fan_out.md",
        '"map": {"n_train": [100, 400, 1347]},',
        '"maps": {"n_train": [100, 400, 1347]},',
        f"{_DOCS}every_op_parameters_in_a_page_can_be_declared",
        "maps",
    ),
    Broken(
        "every page is led to",
        "./README.md",
        "](docs/trace.md)",
        "](docs/traces.md)",
        f"{_DOCS}the_readme_leads_to_every_page[digits]",
        "docs/traces.md",
    ),
    Broken(
        "hooks of git",
        "./.pre-commit-config.yaml",
        "args: [nbstripout, --keep-id]",
        "args: [nbstripout]",
        f"{_PROJECT}the_hooks_of_git_strip_notebooks_and_check_with_the_tools_of_the_project",
        "--keep-id",
    ),
    Broken(
        "actions of the workflow by their hash",
        "./.github/workflows/{% if cookiecutter.ci == 'github' %}ci.yml{% endif %}",
        "actions/deploy-pages@d6db90164ac5ed86f2b6aed7e0febac5b3c0c03e",
        "actions/deploy-pages@v4",
        "tests/test_ci.py::test_github_pins_actions_by_hash_and_lets_each_job_do_what_it_needs",
        "assert False",
    ),
    Broken(
        "what merge requests share with the default branch",
        "./{% if cookiecutter.ci == 'gitlab' %}.gitlab-ci.yml{% endif %}",
        "      paths: [build/main]\n",
        "      paths: [build/main, artefacts]\n",
        "tests/test_ci.py::test_gitlab_shares_with_merge_requests_nothing_that_is_run",
        "'artefacts'",
    ),
    Broken(
        "what a job of continuous integration tells",
        "./dsml/evidence/summary.py",
        'for k in ("system", "run_id")',
        'for k in ("system",)',
        f"{_RUNTIME}summary.py::test_in_a_job_of_ci_the_runs_of_that_job_are_told_and_no_others",
        "of another job",
    ),
    Broken(
        "the container to work in",
        "./.devcontainer/devcontainer.json",
        '"forwardPorts": [3000, 8888]',
        '"forwardPorts": [3000]',
        "tests/test_devcontainer.py::test_it_forwards_the_ports_of_dagster_and_jupyter_to_somebody"
        "_who_is_not_root",
        "[3000] == [3000, 8888]",
    ),
    Broken(
        "an image without root",
        "./deploy/{% if cookiecutter.deploy != 'none' %}Dockerfile{% endif %}",
        "USER 10001:10001",
        "USER root",
        f"{_DEPLOY}images_are_pinned_and_no_service_is_root",
        "['root'] == ",
    ),
    Broken(
        "services for this machine only",
        "./deploy/{% if cookiecutter.deploy == 'compose' %}compose.yaml{% endif %}",
        'ports: ["127.0.0.1:${DAGSTER_PORT',
        'ports: ["${DAGSTER_PORT',
        f"{_DEPLOY}every_service_can_be_left_to_itself",
        "AssertionError: web",
    ),
    Broken(
        "settings of the services",
        "./deploy/{% if cookiecutter.deploy == 'compose' %}compose.yaml{% endif %}",
        '    CODE_PORT: "4000"\n',
        "",
        f"{_DEPLOY}each_variable_that_a_setting_takes_is_given_to_the_services",
        "'CODE_PORT'",
    ),
    Broken(
        "passwords for their owner only",
        "./deploy/{% if cookiecutter.deploy == 'compose' %}make_env.py{% endif %}",
        "0o600",
        "0o644",
        f"{_DEPLOY}passwords_are_made_once_and_for_their_owner_only",
        "420 == 384",
    ),
]

# The hook tells at once all that does not fit together, so one generation is enough.
_REFUSED_PROJECT = [
    Broken(
        "parameters of a notebook",
        "./stages/train/{% if cookiecutter.example == 'digits' %}fit.ipynb{% endif %}",
        "gamma: float = 0.001",
        "gamma: int = 0.001",
        _REFUSED,
        "gamma",
    ),
    Broken(
        "ins of a notebook",
        "./stages/evaluate/{% if cookiecutter.example == 'digits' %}accuracy.ipynb{% endif %}",
        "prepare.split.test",
        "prepare.split.tset",
        _REFUSED,
        "prepare.split.tset",
    ),
    Broken(
        "outs of a notebook",
        "./stages/prepare/{% if cookiecutter.example == 'digits' %}split.ipynb{% endif %}",
        "train.parquet",
        "../train.parquet",
        _REFUSED,
        "../train.parquet",
    ),
    Broken(
        "the cell of the contract",
        "./stages/load/{% if cookiecutter.example == 'digits' %}digits.ipynb{% endif %}",
        "context = get_context(op_parameters)",
        "context = None",
        _REFUSED,
        "get_context",
    ),
    Broken(
        "values of an experiment",
        "./catalog.yml",
        "penalty: 10.0",
        "penality: 10.0",
        _REFUSED,
        "penality",
    ),
    Broken(
        "definitions in dag.py",
        "./dag.py",
        "defs = load_definitions",
        "definitions = load_definitions",
        f"{_RUNTIME}sensors.py::test_a_sensor_is_stopped_until_it_is_started",
        "defs",
    ),
]

_RUNTIME_LINES = [
    Broken(
        "steps that wait for assets of one's own",
        "./dsml/orchestrate/definitions.py",
        "[*dependencies(project, step), *others]",
        "[*dependencies(project, step)]",
        f"{_RUNTIME}dg.py::test_a_step_waits_for_an_asset_of_the_host",
        "AssetKey(['raw', 'images'])",
    ),
    Broken(
        "layers",
        "./dsml/store/takeover.py",
        "from __future__ import annotations",
        "from __future__ import annotations\nimport dsml.cli.new",
        f"{_RUNTIME}layers.py::test_a_module_imports_downward_only[store/takeover.py]",
        "dsml.cli.new",
    ),
    Broken(
        "schedules that are stopped at first",
        "./dsml/orchestrate/schedules.py",
        "DefaultScheduleStatus.STOPPED",
        "DefaultScheduleStatus.RUNNING",
        f"{_RUNTIME}schedules.py::test_a_schedule_is_stopped_until_it_is_started",
        "DagsterRun(job_name='all'",
    ),
    Broken(
        "retries",
        "./dsml/orchestrate/policies.py",
        "delay=retries.delay",
        "delay=None",
        f"{_RUNTIME}policies.py::test_what_is_declared_is_what_dagster_does",
        "delay",
    ),
    Broken(
        "mail about a failed run",
        "./dsml/orchestrate/channels.py",
        '" ".join(message.subject.split())',
        "message.subject.strip()",
        f"{_RUNTIME}notify.py::test_a_subject_of_several_lines_becomes_one",
        "not enough values to unpack",
    ),
    Broken(
        "secrets that are kept out",
        "./dsml/step/redact.py",
        "return self._pattern.sub(MASK, text)",
        "return text",
        f"{_RUNTIME}secrets.py::test_a_secret_is_found_in_a_stream_however_it_is_divided",
        "***",
    ),
    Broken(
        "the table of a context",
        "./dsml/step/table.py",
        "<div>{escape(_title(setting))}</div>",
        "<div>{_title(setting)}</div>",
        f"{_RUNTIME}context_table.py::test_everything_in_the_html_is_escaped",
        "<b>",
    ),
    Broken(
        "checks of data",
        "./dsml/step/rules.py",
        "pa.Check.le(",
        "pa.Check.lt(",
        f"{_RUNTIME}data_checks.py::test_a_rule_holds_for_each_value_that_is_no_null",
        "x",
    ),
    Broken(
        "comparison of runs",
        "./dsml/evidence/comparison.py",
        "for row in self.rows}) == 1",
        "for row in self.rows}) <= 2",
        f"{_RUNTIME}compare.py::test_what_is_the_same_in_all_runs_is_told_apart",
        "==",
    ),
    Broken(
        "what cleaning up keeps",
        "./dsml/evidence/retention/plan.py",
        "sorted(part.refers | part.made_of",
        "sorted(part.made_of",
        f"{_RUNTIME}retention.py::test_what_a_kept_step_was_made_from_stays_and_what_that_was_made_from",
        "==",
    ),
    Broken(
        "pages that are safe",
        "./dsml/evidence/site/templating.py",
        "autoescape=True",
        "autoescape=False",
        f"{_RUNTIME}report.py::test_markup_in_any_name_or_value_is_shown_as_it_is",
        "x",
    ),
    Broken(
        "a server for this machine only",
        "./dsml/cli/serve.py",
        'default="127.0.0.1"',
        'default="0.0.0.0"',
        f"{_AUDIT}the_commands_of_dsml_that_serve_do_so_too",
        "'serve': '0.0.0.0'",
    ),
]

GROUPS = {
    "answers": _ANSWERS,
    "files of a project": _PROJECT_FILES,
    "a project that is refused": _REFUSED_PROJECT,
    "runtime": _RUNTIME_LINES,
}
