"""The official Python client (`mcp`) runs one task to its end and cancels another, and prints what it saw as JSON.

It has an interface for extensions and none for tasks: this is one. MCP_URL and MCP_TOKEN say where, MCP_SERVICE names a
service whose restart succeeds, MCP_STUCK one whose restart does not come to an end by itself.
"""

import asyncio
import json
import os
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import Field


class Task(Result):
    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str
    poll_interval_ms: int = Field(alias="pollIntervalMs")


class Detailed(Result):
    status: str
    status_message: str | None = Field(default=None, alias="statusMessage")
    result: dict[str, Any] | None = None


class OfTask(RequestParams):
    task_id: str = Field(alias="taskId")


class GetTask(Request[OfTask, Literal["tasks/get"]]):
    name_param = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: OfTask


class CancelTask(Request[OfTask, Literal["tasks/cancel"]]):
    name_param = "taskId"
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: OfTask


class Tasks(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self) -> None:
        self.states: list[str] = []
        self.task: str | None = None

    def claims(self):
        return [ResultClaim(result_type="task", model=Task, resolve=self.resolve)]

    async def resolve(self, task: Task, context: ClaimContext) -> CallToolResult:
        """Polls until the task has ended; what a tool call gives then is the task's result."""
        self.task = task.task_id
        ended = await settle(context.session, task, self.states)
        return CallToolResult.model_validate(ended.result)


async def get(session, task: str) -> Detailed:
    return await session.send_request(GetTask(params=OfTask(taskId=task)), Detailed)


async def settle(session, task: Task, states: list[str]) -> Detailed:
    while (seen := await get(session, task.task_id)).status == "working":
        states.append(seen.status_message or seen.status)
        await asyncio.sleep(task.poll_interval_ms / 1000)
    return seen


async def look(client: Client, tasks: Tasks) -> dict:
    result = await client.call_tool("restart_service", {"service": os.environ["MCP_SERVICE"]})
    story: dict = {"kind": "task" if tasks.task else "immediate", "task": tasks.task, "states": tasks.states}
    story["result"] = {"isError": bool(result.is_error), "structured": result.structured_content}
    again = await get(client.session, tasks.task)
    story["again"] = again.result["structuredContent"]

    arguments = {"service": os.environ["MCP_STUCK"]}
    stuck = await client.session.call_tool("restart_service", arguments, allow_claimed=True)
    before = (await get(client.session, stuck.task_id)).status
    await client.session.send_request(CancelTask(params=OfTask(taskId=stuck.task_id)), Result)
    ended = await settle(client.session, stuck, [])
    after = (await get(client.session, stuck.task_id)).status
    story["stuck"] = {"task": stuck.task_id, "before": before, "outcome": ended.status, "after": after}
    return story


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['MCP_TOKEN']}"}
    tasks = Tasks()
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(os.environ["MCP_URL"], http_client=http)
        async with Client(transport, mode="2026-07-28", cache=None, extensions=[tasks]) as client:
            print(json.dumps(await look(client, tasks)))


asyncio.run(main())
