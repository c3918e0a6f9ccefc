from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import User, get_db

router = APIRouter(prefix="/users", tags=["users"])
Db = Annotated[Session, Depends(get_db)]


class UserIn(BaseModel):
    email: str


def current_user(db: Db, authorization: Annotated[str, Header()] = "") -> User:
    email = authorization.removeprefix("Bearer ")
    user = db.scalar(select(User).where(User.email == email))
    if user is None:
        raise HTTPException(401, "Not authenticated")
    return user


@router.post("/", status_code=201)
def create_user(new: UserIn, db: Db) -> dict[str, object]:
    user = User(email=new.email, is_superuser=False)
    db.add(user)
    db.commit()
    return {"id": user.id, "email": user.email}


@router.get("/me")
def read_me(user: Annotated[User, Depends(current_user)]) -> dict[str, object]:
    return {"id": user.id, "email": user.email}
