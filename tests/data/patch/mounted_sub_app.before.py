from fastapi import FastAPI

admin = FastAPI(title="Admin")

app = FastAPI(title="Shop")
app.mount("/admin", admin)
