from desk.main import app
from fastapi.testclient import TestClient


def test_a_ticket_is_opened():
    with TestClient(app) as client:
        assert client.post("/tickets", params={"text": "help"}).json()["text"] == "help"
        assert client.get("/metrics").json() == {"tickets": 0}
