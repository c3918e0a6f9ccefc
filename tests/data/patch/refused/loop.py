from fastapi import FastAPI

for name in ("a", "b"):
    app = FastAPI(title=name)
