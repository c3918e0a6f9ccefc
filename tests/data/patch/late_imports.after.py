from dotenv import load_dotenv

load_dotenv()

from fastapi import FastAPI  # noqa: E402

from acme.scheduler.app import scheduler_router  # noqa: E402
from acme.settings import settings  # noqa: E402

app = FastAPI(title=settings.title)
app.include_router(scheduler_router)

from acme import views  # noqa: E402, F401
