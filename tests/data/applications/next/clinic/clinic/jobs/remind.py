from clinic.models import Visit
from clinic.scheduler import job


@job()
def remind(visit: int) -> str:
    """Remind a patient of a visit; a plain function runs in a thread, where the ORM may be used."""
    Visit.objects.filter(pk=visit).update(is_reminded=True)
    return "reminded"
