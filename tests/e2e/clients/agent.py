"""The official Python client (`mcp`) goes through what an agent does, and prints what it saw as one JSON object.

MCP_URL, MCP_TOKEN, MCP_VERSION ("legacy" or a version to pin) and MCP_SERVICE say where.
"""

import asyncio
import json
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PromptReference

SERVICE = os.environ["MCP_SERVICE"]


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(os.environ["MCP_URL"], http_client=http)
        async with Client(transport, mode=os.environ["MCP_VERSION"], cache=None) as client:
            print(json.dumps(await look(client)))


async def look(client: Client) -> dict:
    seen: dict = {"protocol": client.protocol_version, "progress": []}
    tools = (await client.list_tools()).tools
    seen["tools"] = {tool.name: plain(tool.annotations) for tool in tools}

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen["progress"].append({"progress": progress, "message": message})

    async def call(name: str, progress=None) -> dict:
        result = await client.call_tool(name, {"service": SERVICE}, progress_callback=progress)
        text = getattr(result.content[0], "text", None) if result.content else None
        return {"isError": bool(result.is_error), "structured": result.structured_content, "text": text}

    seen["status"] = await call("get_service_status")
    seen["restart"] = await call("restart_service", note)
    if run := (seen["restart"]["structured"] or {}).get("run"):
        contents = (await client.read_resource(f"astradesk://runs/{run}")).contents
        seen["resource"] = json.loads(contents[0].text)
    prompts = (await client.list_prompts()).prompts
    seen["prompts"] = [prompt.name for prompt in prompts]
    for prompt in prompts:
        if any(argument.name == "service" for argument in prompt.arguments or []):
            reference = PromptReference(type="ref/prompt", name=prompt.name)
            completed = await client.complete(reference, {"name": "service", "value": SERVICE[:3]})
            seen["completed"] = completed.completion.values
            break
    return seen


def plain(model) -> dict | None:
    return model and model.model_dump(mode="json", by_alias=True, exclude_none=True)


asyncio.run(main())
