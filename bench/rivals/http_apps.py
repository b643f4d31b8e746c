"""The same small route on each HTTP part that could carry the server: a body decoded, six labels answered."""

import asyncio
import sys
from typing import Any

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
PARTS = ("asgi", "starlette", "fastapi", "litestar", "granian")


def answer() -> list[list[dict[str, Any]]]:
    """What the route tells."""
    return [[{"label": label, "score": 0.123456} for label in LABELS]]


def bare() -> Any:
    """No framework: ASGI by hand with msgspec."""
    import msgspec

    class Request(msgspec.Struct):
        inputs: str
        parameters: dict[str, Any] | None = None

    decode, encode = msgspec.json.Decoder(Request).decode, msgspec.json.Encoder().encode

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        decode((await receive())["body"])
        await asyncio.sleep(0)
        body = encode(answer())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def starlette() -> Any:
    """Starlette's routing around the bare application, as ours is built."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    class Endpoint:
        def __init__(self) -> None:
            self.app = bare()

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    return Starlette(routes=[Route("/models/{name:path}", Endpoint(), methods=["POST"])])


def fastapi() -> Any:
    """FastAPI with pydantic's models."""
    import fastapi as library
    from pydantic import BaseModel

    class Request(BaseModel):
        inputs: str
        parameters: dict[str, Any] | None = None

    class Element(BaseModel):
        label: str
        score: float

    app = library.FastAPI()

    async def route(name: str, request: Request) -> list[list[Element]]:
        await asyncio.sleep(0)
        return [[Element(**one) for one in row] for row in answer()]

    route.__annotations__ = {"name": str, "request": Request, "return": list[list[Element]]}
    app.post("/models/{name:path}")(route)
    return app


def litestar() -> Any:
    """Litestar with msgspec's structs."""
    import litestar as library
    import msgspec

    class Request(msgspec.Struct):
        inputs: str
        parameters: dict[str, Any] | None = None

    async def route(name: str, data: Request) -> list[list[dict[str, Any]]]:
        await asyncio.sleep(0)
        return answer()

    route.__annotations__ = {"name": str, "data": Request, "return": list[list[dict[str, Any]]]}
    return library.Litestar([library.post("/models/{name:path}", status_code=200)(route)])


def main() -> None:
    """Serve one of them: PART PORT."""
    part, port = sys.argv[1], int(sys.argv[2])
    if part == "granian":
        from granian.constants import Interfaces
        from granian.server.embed import Server

        server = Server(starlette(), address="127.0.0.1", port=port, interface=Interfaces.ASGI)
        asyncio.run(server.serve())
        return
    import uvicorn

    app = {"asgi": bare, "starlette": starlette, "fastapi": fastapi, "litestar": litestar}[part]()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


if __name__ == "__main__":
    main()
