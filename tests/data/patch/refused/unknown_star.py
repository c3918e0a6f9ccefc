from acme.common import *

app = FastAPI()
