import fastapi


class Server:
	def build(self) -> fastapi.FastAPI:
		app = fastapi.FastAPI()
		self.app = app
		return app
