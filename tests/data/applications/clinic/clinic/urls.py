from django.urls import path

from clinic.views import visits

urlpatterns = [path("visits", visits)]
