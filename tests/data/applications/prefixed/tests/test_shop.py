from fastapi.testclient import TestClient

from shop.main import app, seen


def test_its_addresses_are_its_own():
    with TestClient(app) as client:
        assert client.get("/metrics").json() == "mine"
        assert client.get("/shop/health").json() == {"shop": "open"}
        assert client.get("/nowhere").json()["nothing at"].endswith("/nowhere")
        assert client.get("/metrics").headers["X-Shop"] == "/shop"
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/shop"}]
    assert seen == ["start", "stop"]
