from typing import Any

from clinic.scheduler import main
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Run the scheduler's command line: manage.py targcc worker"

    def run_from_argv(self, argv: list[str]) -> None:
        main(argv[2:], prog_name="manage.py targcc")

    def handle(self, *args: Any, **options: Any) -> None:
        main(list(args), prog_name="manage.py targcc")
