from acme.scheduler.app import scheduler_router
try:
    from fastapi import FastAPI
except ImportError as error:
    raise SystemExit("pip install fastapi") from error

try:
    import uvloop
except ImportError:
    uvloop = None

app = FastAPI()
app.include_router(scheduler_router)
