from django.test import Client, TestCase


class Visits(TestCase):
    def test_a_visit_is_kept_or_was_never_there(self):
        assert Client().post("/visits?patient=Dana").status_code == 200
        assert Client().post("/visits?patient=nobody").status_code == 409
        assert Client().get("/visits").json() == {"Dana": False}
