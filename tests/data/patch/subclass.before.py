from fastapi import FastAPI


class Service(FastAPI):
    """Our own defaults."""


class Shop(Service): ...


app = Shop(title="Shop")
