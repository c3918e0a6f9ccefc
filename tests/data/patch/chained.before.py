from fastapi import FastAPI

app = application = FastAPI()  # two names, one app
