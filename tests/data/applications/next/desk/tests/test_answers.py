from desk.jobs.answer import answer
from desk.main import app
from fastapi.testclient import TestClient


def test_who_asks_is_answered(scheduler, enqueued):
    with TestClient(app) as client:
        client.post("/tickets", params={"text": "help"})
    assert [(run.arguments, run.state) for run in enqueued(answer)] == [
        ({"text": "help"}, "succeeded")
    ]
