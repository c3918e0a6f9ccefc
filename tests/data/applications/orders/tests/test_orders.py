from fastapi.testclient import TestClient

from orders.main import create_app


def test_an_order_is_kept_or_was_never_there():
    with TestClient(create_app()) as client:
        before = client.get("/orders").json()
        assert client.post("/orders/tea").status_code == 200
        assert client.post("/orders/nothing").status_code == 409
        assert client.get("/orders").json() == before + 1
