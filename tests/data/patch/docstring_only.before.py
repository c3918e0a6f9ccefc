"""An app in one block."""
with open("title.txt") as file:
    import fastapi
    app = fastapi.FastAPI(title=file.read())
