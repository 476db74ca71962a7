"""An MCP server by the official Python SDK, with tools of every kind. It prints its port and serves until it is killed."""

import asyncio
import socket
import time
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("crm")
added = []


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find(name: str, most: int = 3) -> dict[str, Any]:
    """Find customers."""
    return {"name": name, "most": most, "added": added}


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def put(name: str) -> str:
    """Add a customer unless it is there."""
    return f"{name} is there"


@server.tool()
def add(name: str) -> str:
    """Add a customer."""
    added.append(name)
    return f"{name} is added"


@server.tool()
def fail(secret: str) -> str:
    """Fail."""
    raise ValueError(f"the secret is {secret}")


@server.tool()
def flood() -> str:
    """Answer with a megabyte."""
    return "ä" * (1 << 19)


@server.tool()
def sleep() -> str:
    """Answer too late."""
    time.sleep(30)
    return "late"


async def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # Who connects before the server is up waits for it.
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
