from alembic import command
from alembic.config import Config


def test_users_sign_up_and_see_themselves(client):
    assert client.post("/api/v1/users/", json={"email": "dana@example.com"}).status_code == 201
    headers = {"Authorization": "Bearer dana@example.com"}
    assert client.get("/api/v1/users/me", headers=headers).json()["email"] == "dana@example.com"
    assert client.get("/api/v1/users/me").status_code == 401


def test_the_description_names_the_operations(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    named = {path: {what["operationId"] for what in one.values()} for path, one in paths.items()}
    assert named == {
        "/api/v1/users/": {"users-create_user"},
        "/api/v1/users/me": {"users-read_me"},
    }


def test_the_front_end_may_ask(client):
    answer = client.get("/api/v1/users/me", headers={"Origin": "http://localhost:5173"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


def test_the_migrations_are_what_the_models_say(client):
    command.check(Config("alembic.ini"))
