import os
from collections.abc import Iterator

from sqlalchemy import String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ.get("APP_DATABASE", "sqlite:///app.db"))


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    is_superuser: Mapped[bool] = mapped_column(default=False)


def get_db() -> Iterator[Session]:
    with Session(engine) as session:
        yield session
