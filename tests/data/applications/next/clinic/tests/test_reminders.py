import pytest
from clinic.jobs.remind import remind
from clinic.models import Visit
from django.test import Client


@pytest.fixture(autouse=True)
def _empty():
    yield
    Visit.objects.all().delete()


def test_who_comes_is_reminded(enqueued):
    visit = Client().post("/visits?patient=Dana").json()["visit"]
    assert [run.arguments for run in enqueued(remind)] == [{"visit": visit}]
