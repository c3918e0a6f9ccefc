def create_app():
    app = FastAPI()
    return app
