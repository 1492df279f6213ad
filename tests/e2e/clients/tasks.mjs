// The official TypeScript client with the official extension for tasks (@modelcontextprotocol/ext-tasks) runs one task
// to its end and cancels another, and prints what it saw as one JSON object. MCP_URL and MCP_TOKEN say where, MCP_SERVICE
// names a service whose restart succeeds, MCP_STUCK one whose restart does not come to an end by itself.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";

const { MCP_URL, MCP_TOKEN, MCP_SERVICE, MCP_STUCK } = process.env;
const protocolVersion = "2026-07-28";
const clientInfo = { name: "e2e", version: "1" };
const client = new Client(clientInfo, { versionNegotiation: { mode: { pin: protocolVersion } } });
const headers = { Authorization: `Bearer ${MCP_TOKEN}` };
const transport = new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit: { headers } });
await client.connect(transport);

// The client itself takes no task for an answer: the extension asks its host to send its requests beside it.
const waiting = new Map();
const deliver = transport.onmessage;
transport.onmessage = (message, extra) => {
  const taken = waiting.get(message.id);
  return taken ? taken(message) : deliver(message, extra);
};
const rawDispatch = (request, options) =>
  new Promise((resolve, reject) => {
    const id = `task-${waiting.size}`;
    waiting.set(id, ({ error, result }) => resolve(error ? { kind: "error", error } : { kind: "result", result }));
    const wire = { ...request, jsonrpc: "2.0", id };
    transport.send(wire, { headers: options?.context?.headers }).catch(reject);
  });
const v2RequestFraming = { protocolVersion, clientInfo, clientCapabilities: {} };
const session = createTaskSessionFromClient(client, { endpointId: "e2e", rawDispatch, v2RequestFraming });

const story = { kind: null, states: [] };
const execution = await session.callTool("restart_service", { service: MCP_SERVICE });
story.kind = execution.kind;
story.task = execution.handle?.taskId;
const onEvent = (event) => event.type === "task" && story.states.push(event.task.statusMessage ?? event.task.status);
const { outcome } = await execution.settle({ onEvent });
const { isError, structuredContent } = resultFromTaskOutcome(outcome);
story.result = { isError: isError ?? false, structured: structuredContent };

// A task that has ended is found again by its id, with the same result.
const again = await session.task(execution.handle.taskId).result();
story.again = again.result.structuredContent;

const stuck = await session.callTool("restart_service", { service: MCP_STUCK });
const controller = session.task(stuck.handle.taskId);
story.stuck = { task: stuck.handle.taskId, before: (await controller.snapshot()).status };
await controller.cancel();
story.stuck.outcome = (await stuck.settle()).outcome.status;
story.stuck.after = (await controller.snapshot()).status;

await session.close();
await client.close();
console.log(JSON.stringify(story));
