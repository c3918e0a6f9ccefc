from fastapi import FastAPI

name = "Shop"; app = FastAPI(title=name); other = 1
