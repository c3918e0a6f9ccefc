import os

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")
django.setup()


@pytest.fixture(autouse=True, scope="session")
def _database():
    from django.db import connection

    connection.creation.create_test_db(verbosity=0)
    yield
    connection.creation.destroy_test_db("", verbosity=0)
