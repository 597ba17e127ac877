"""What is found out about the circumstances of a run: CI, git, CPU and memory."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from dsml.evidence.ci import ci_facts
from dsml.orchestrate.usage import Usage
from dsml.step.facts import git_facts, git_origin
from dsml.step.process import is_gone, mark

from .projects import wait_until

# --- continuous integration and git ---------------------------------------------------------------


def test_a_job_of_github_is_told():
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SHA": "c" * 40,
        "GITHUB_REF_NAME": "main",
        "GITHUB_ACTOR": "ada",
        "GITHUB_JOB": "train",
        "GITHUB_RUN_ID": "17",
        "GITHUB_SERVER_URL": "https://github.example.org",
        "GITHUB_REPOSITORY": "org/project",
    }
    assert ci_facts(environment) == {
        "system": "github",
        "commit": "c" * 40,
        "ref": "main",
        "actor": "ada",
        "job": "train",
        "run_id": "17",
        "run_url": "https://github.example.org/org/project/actions/runs/17",
    }


def test_a_job_of_gitlab_is_told():
    environment = {
        "GITLAB_CI": "true",
        "CI_COMMIT_SHA": "d" * 40,
        "CI_COMMIT_REF_NAME": "v1",
        "GITLAB_USER_LOGIN": "ada",
        "CI_JOB_NAME": "train",
        "CI_PIPELINE_ID": "5",
        "CI_PIPELINE_URL": "https://gitlab.example.org/p/-/pipelines/5",
    }
    assert ci_facts(environment) == {
        "system": "gitlab",
        "commit": "d" * 40,
        "ref": "v1",
        "actor": "ada",
        "job": "train",
        "run_id": "5",
        "run_url": "https://gitlab.example.org/p/-/pipelines/5",
    }


@pytest.mark.parametrize("environment", [{}, {"GITHUB_SHA": "c" * 40}, {"GITLAB_CI": ""}])
def test_outside_of_such_a_job_nothing_is_told(environment):
    assert ci_facts(environment) == {}


def test_the_origin_of_a_repository_is_told_without_its_password(tmp_path):
    url = "https://user:secret@git.example.org/org/project.git"
    for command in (["init", "-b", "topic"], ["remote", "add", "origin", url]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    told = {"branch": "topic", "url": "https://git.example.org/org/project.git"}
    assert git_origin(tmp_path) == told


def test_nothing_is_told_of_a_folder_without_git(tmp_path):
    assert git_origin(tmp_path) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", {}),
        ("-dirty", {}),
        ("c" * 40, {"commit": "c" * 40, "dirty": False}),
        (f"{'c' * 40}-dirty", {"commit": "c" * 40, "dirty": True}),
    ],
)
def test_in_an_image_the_commit_is_the_one_that_it_was_built_from(
    tmp_path, monkeypatch, given, told
):
    monkeypatch.setenv("DSML_COMMIT", given)
    assert git_facts(tmp_path) == told


def test_a_repository_knows_its_commit_better_than_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DSML_COMMIT", "c" * 40)
    commit = ["commit", "--allow-empty", "--message", "Start"]
    for command in (["init"], commit):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    assert git_facts(tmp_path)["commit"] not in ("", "c" * 40)


# --- CPU and memory -------------------------------------------------------------------------------

BUSY = """
import subprocess, sys, time
burning = "import time\\nwhile time.process_time() < 0.5: pass"
subprocess.run([sys.executable, "-c", burning])
taken = bytearray(150_000_000)
holding = "x = bytearray(100_000_000); print(1, flush=True); input()"
held = subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1)
held.stdout.readline()
print("ready", flush=True)
input()
"""


def test_cpu_and_memory_are_those_of_a_process_and_all_that_it_started():
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        usage = Usage()
        usage.look(process.pid)
        process.kill()
    assert usage.cpu_seconds >= 0.5  # those of the child that has ended
    assert 250_000_000 < usage.peak_memory < 400_000_000


def test_a_process_that_is_gone_leaves_what_was_seen():
    usage = Usage()
    usage.look(2**22 + 1)
    assert (usage.cpu_seconds, usage.peak_memory) == (None, None)


def test_looks_that_follow_each_other_too_closely_are_left_out():
    usage = Usage()
    usage.look(os.getpid())
    usage.peak_memory = 0
    usage.look(os.getpid())
    assert usage.peak_memory == 0
    usage.look(os.getpid(), at_once=True)
    assert usage.peak_memory > 0


# --- processes ------------------------------------------------------------------------------------


def test_this_process_is_there():
    assert not is_gone(mark())


def test_a_process_that_has_ended_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    host, _, _ = mark().rsplit(":", 2)
    marked = f"{host}:{child.pid}:{psutil.Process(child.pid).create_time():.2f}"
    assert not is_gone(marked)
    child.kill()
    wait_until(lambda: is_gone(marked))  # though nobody has waited for it
    child.wait()
    assert is_gone(marked)


def test_another_process_with_the_same_number_is_told_from_it():
    host, pid, started = mark().rsplit(":", 2)
    assert is_gone(f"{host}:{pid}:{float(started) - 60:.2f}")
    assert not is_gone(f"{host}:{pid}:{float(started) - 1:.2f}")  # the clock has been put right


def test_nothing_is_known_of_other_machines():
    assert not is_gone("elsewhere:1:1.00")
    assert not is_gone("")
