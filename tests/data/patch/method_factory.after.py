import fastapi

from acme.scheduler.app import scheduler_router


class Server:
	def build(self) -> fastapi.FastAPI:
		app = fastapi.FastAPI()
		app.include_router(scheduler_router)
		self.app = app
		return app
