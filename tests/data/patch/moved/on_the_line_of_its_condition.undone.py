from fastapi import FastAPI
app = FastAPI()
if app.debug: pass  # now
