from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from orders.database import Base, Order, engine, get_session


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


def create_app() -> FastAPI:
    app = FastAPI(lifespan=lifespan)

    @app.post("/orders/{item}")
    async def order(
        item: str, session: Annotated[AsyncSession, Depends(get_session)]
    ) -> int:
        new = Order(item=item)
        session.add(new)
        await session.flush()
        if item == "nothing":
            raise HTTPException(409, "sold out")
        return new.id

    @app.get("/orders")
    async def count(session: Annotated[AsyncSession, Depends(get_session)]) -> int:
        return await session.scalar(select(func.count()).select_from(Order)) or 0

    return app


app = create_app()
