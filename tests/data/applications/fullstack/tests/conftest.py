import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient

from app.main import app


@pytest.fixture(scope="session", autouse=True)
def database():
    command.upgrade(Config("alembic.ini"), "head")
    yield
    command.downgrade(Config("alembic.ini"), "base")


@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client
