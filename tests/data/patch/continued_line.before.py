from fastapi import FastAPI

app = \
    FastAPI(
        title="a"
        ) # odd, but legal
