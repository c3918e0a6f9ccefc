from fastapi import *

app = FastAPI()
