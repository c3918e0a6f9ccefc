from fastapi import FastAPI

if True: app = FastAPI()
