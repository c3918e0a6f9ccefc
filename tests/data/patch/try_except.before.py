try:
    from fastapi import FastAPI
except ImportError as error:
    raise SystemExit("pip install fastapi") from error

try:
    import uvloop
except ImportError:
    uvloop = None

app = FastAPI()
