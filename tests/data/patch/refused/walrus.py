from fastapi import FastAPI

if (app := FastAPI()).debug:
    print("debugging")
