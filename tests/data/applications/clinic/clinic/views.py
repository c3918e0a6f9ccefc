from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from clinic.models import Visit


@csrf_exempt
@transaction.atomic
def visits(request: HttpRequest) -> JsonResponse:
    if request.method == "GET":
        return JsonResponse({one.patient: one.is_reminded for one in Visit.objects.all()})
    visit = Visit.objects.create(patient=request.GET["patient"])
    if visit.patient == "nobody":
        transaction.set_rollback(True)
        return JsonResponse({}, status=409)
    return JsonResponse({"visit": visit.pk})
