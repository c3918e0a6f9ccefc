from fastapi import FastAPI

app = FastAPI()
app = FastAPI(title="again")
