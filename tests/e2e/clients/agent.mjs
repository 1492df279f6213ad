// The official TypeScript client (@modelcontextprotocol/client) goes through what an agent does, and prints what it
// saw as one JSON object. MCP_URL, MCP_TOKEN, MCP_VERSION ("legacy" or a version to pin) and MCP_SERVICE say where.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const { MCP_URL, MCP_TOKEN, MCP_VERSION, MCP_SERVICE } = process.env;
const mode = MCP_VERSION === "legacy" ? "legacy" : { pin: MCP_VERSION };
const client = new Client({ name: "e2e", version: "1" }, { versionNegotiation: { mode } });
const headers = { Authorization: `Bearer ${MCP_TOKEN}` };
await client.connect(new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit: { headers } }));

const seen = { protocol: client.getNegotiatedProtocolVersion?.() ?? null };
const { tools } = await client.listTools();
seen.tools = Object.fromEntries(tools.map((tool) => [tool.name, tool.annotations]));
const service = { service: MCP_SERVICE };
const call = async (name, options) => {
  const { isError, structuredContent, content } = await client.callTool({ name, arguments: service }, options);
  return { isError: isError ?? false, structured: structuredContent, text: content?.[0]?.text };
};
seen.status = await call("get_service_status");
seen.progress = [];
const onprogress = ({ progress, message }) => seen.progress.push({ progress, message });
seen.restart = await call("restart_service", { onprogress });
const { run } = seen.restart.structured ?? {};
if (run) {
  const { contents } = await client.readResource({ uri: `astradesk://runs/${run}` });
  seen.resource = JSON.parse(contents[0].text);
}
const { prompts } = await client.listPrompts();
seen.prompts = prompts.map((prompt) => prompt.name);
const argument = prompts.flatMap((prompt) =>
  (prompt.arguments ?? []).filter(({ name }) => name === "service").map(({ name }) => ({ prompt: prompt.name, name })),
)[0];
if (argument) {
  const ref = { type: "ref/prompt", name: argument.prompt };
  const value = MCP_SERVICE.slice(0, 3);
  const { completion } = await client.complete({ ref, argument: { name: argument.name, value } });
  seen.completed = completion.values;
}
await client.close();
console.log(JSON.stringify(seen));
