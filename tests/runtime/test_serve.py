"""The champion behind a server: real images in, the digits that it takes them for out."""

from __future__ import annotations

import contextlib
import signal

import pytest
import requests
from conftest import free_port
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from dsml.evidence.models import promote

from .logged_models import MODELS, Runs, write_models_project
from .projects import kill_group, start, wait_until

PATIENCE = 20  # seconds for an answer: none of them may hang
DIGITS = load_digits(as_frame=True).frame.astype("uint8")


def answers(url):
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{url}/ping", timeout=PATIENCE).status_code == 200
    return False


@pytest.mark.slow
def test_images_that_are_sent_are_named_as_in_this_process(root):
    digits = {**MODELS["m"], "target": "target"}
    write_models_project(root, models={"digits": digits})
    runs = Runs(root)
    images, names = DIGITS.drop(columns="target"), DIGITS["target"]
    model = SVC(gamma=0.001).fit(images[:600], names[:600])
    new = images[600:700]

    def fit(context):
        context.log_model("digits", model, input_example=new.head())
        context.log_metric("accuracy", 0.9)

    runs.run("r1", log=fit, holdout=DIGITS[600:])
    assert promote(root=root).promoted
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = start(root, "serve", "--port", str(port))
    try:
        wait_until(lambda: answers(url) or server.poll() is not None, PATIENCE * 2)
        expected = model.predict(new).tolist()

        def invoke(body, kind):
            headers = {"Content-Type": kind}
            return requests.post(f"{url}/invocations", body, headers=headers, timeout=PATIENCE)

        as_json = new.to_json(orient="split")
        found = invoke(f'{{"dataframe_split": {as_json}}}', "application/json")
        assert found.json() == {"predictions": expected}
        assert invoke(new.to_csv(index=False), "text/csv").json() == {"predictions": expected}
        for body, kind, reason in (
            (
                '{"dataframe_split": {"columns": ["a"], "data": [[1]]}}',
                "application/json",
                "schema",
            ),
            ("nonsense", "application/json", "JSON"),
            ("{}", "application/json", "dataframe_split"),
            (new.iloc[:, :3].to_csv(index=False), "text/csv", "schema"),
            (new.astype(str).replace("0", "x").to_csv(index=False), "text/csv", "x"),
        ):
            refused = invoke(body, kind)
            assert refused.status_code == 400, refused.text
            assert reason in refused.json()["message"]
        second = start(root, "serve", "--port", str(port))
        message = second.communicate(timeout=PATIENCE * 2)[1]
        assert second.returncode == 1
        assert f"nothing can listen on 127.0.0.1, port {port}" in message
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=PATIENCE)[1]
        assert f"digits, version 1: POST {url}/invocations" in said
        assert "Traceback" not in said
    finally:
        kill_group(server)


@pytest.mark.slow
def test_without_a_champion_it_is_told_how_to_get_one(root):
    write_models_project(root)
    process = start(root, "serve")
    message = process.communicate(timeout=PATIENCE * 2)[1]
    assert process.returncode == 1
    assert message.endswith(
        "no champion yet\n  dsml promote m makes the best run's model the champion\n"
    )
