import os

from django.apps import AppConfig
from django.conf import settings


class ClinicConfig(AppConfig):
    name = "clinic"

    def ready(self) -> None:
        """Let the scheduler have its tables in Django's database, in every process of the project."""
        file = settings.DATABASES["default"]["NAME"]
        os.environ.setdefault("TARGCC_DATABASE_URL", f"sqlite:///{file}")
