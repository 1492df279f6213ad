// The suite knows no tokens: this stands between it and the gateway, and adds one. Everything else, Host included,
// goes through as it is. Prints its address.
const http = require('node:http');
const [gateway] = process.argv.slice(2);
const token = process.env.CONFORMANCE_TOKEN;
const { hostname, port } = new URL(gateway);

const server = http.createServer((asked, answer) => {
  const headers = { ...asked.headers, authorization: `Bearer ${token}` };
  const request = http.request({ hostname, port, path: asked.url, method: asked.method, headers }, (answered) => {
    answer.writeHead(answered.statusCode, answered.headers);
    answered.pipe(answer);
  });
  request.on('error', () => answer.destroy());
  answer.on('close', () => request.destroy());
  asked.pipe(request);
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
