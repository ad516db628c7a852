"""An MCP server over several workers: a session and what it remembers live in one of them.

    pip install 'mcp>=2.3'
    tercio run examples.mcp_server:app -w 3 --sticky header:mcp-session-id

Clients of the protocol's newer versions have no sessions, and any worker answers each of their
calls: what must last belongs into ``cluster.state``, as ``visits`` shows.
"""

from mcp.server.mcpserver import Context, MCPServer

from tercio import cluster
from tercio.integrations.mcp import OwnSessions

server = MCPServer("example")
notes: dict[str, list[str]] = {}  # of this worker's sessions


@server.tool()
async def note(text: str, ctx: Context) -> list[str]:
    """Remember a text in this session, and tell all of them."""
    request = ctx.request_context.request
    mine = notes.setdefault(request.headers.get("mcp-session-id", ""), [])
    mine.append(text)
    return mine


@server.tool()
async def where() -> str:
    """The worker that answers."""
    return cluster.worker.id


@server.tool()
async def visits() -> int:
    """A number that all workers share."""
    return await cluster.state.incr("visits")


app = OwnSessions(server.streamable_http_app())
