from fastapi import FastAPI


class Server:
    app = FastAPI()
