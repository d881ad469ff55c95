// The Node.js app of these tests: what other servers seldom do. Its arguments: the port, and for how many
// milliseconds an idle connection is kept, where that is not to be Node's own default.
"use strict";
const {createHash} = require("node:crypto");
const {createServer} = require("node:http");

const digest = request => new Promise((resolve, reject) => {
  const hash = createHash("sha256");
  request.on("data", piece => hash.update(piece));
  request.on("end", () => resolve(hash.digest("hex")));
  request.on("error", reject);
});

const answers = {
  "/chunks": async (request, response) => {
    for (const piece of ["one", "two", "x".repeat(70000), "three"]) response.write(piece);
    response.end();
  },
  "/trailers": async (request, response) => {
    response.writeHead(200, {"Content-Type": "text/plain", Trailer: "Content-MD5, X-Count"});
    response.write("before the trailers");
    response.addTrailers({"Content-MD5": "7895bf4b8828b55ceaf47747b4bca667", "X-Count": "2"});
    response.end();
  },
  "/hints": async (request, response) => {
    response.writeEarlyHints({link: ["</style.css>; rel=preload; as=style", "</script.js>; rel=preload"]});
    response.writeEarlyHints({link: "</late.css>; rel=preload; as=style"});
    response.end("<!doctype html>");
  },
  "/cookies": async (request, response) => {
    response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2; HttpOnly"]);
    response.setHeader("x-MiXeD", "caf\u00e9");
    response.end("baked");
  },
  "/close": async (request, response) => {
    response.writeHead(200, {Connection: "close"});
    response.end("and goodbye");
  },
  "/empty": async (request, response) => response.writeHead(204).end(),
};

const server = createServer(async (request, response) => {
  const answer = answers[request.url];
  if (answer) return answer(request, response);
  response.end(`${request.method} ${request.url} ${await digest(request)}`);
});

// A request with Expect: 100-continue: the app looks at its head and says whether it wants the body.
server.on("checkContinue", (request, response) => {
  if (request.url === "/refuse") return response.writeHead(417, {"Content-Type": "text/plain"}).end("keep it");
  response.writeContinue();
  server.emit("request", request, response);
});

// A protocol that is no WebSocket: what comes goes back in upper case, and "BYE" after the client's end.
server.on("upgrade", (request, socket, head) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n");
  const shout = bytes => socket.write(bytes.toString("latin1").toUpperCase());
  if (head.length) shout(head);
  socket.on("data", shout);
  socket.on("end", () => socket.end("BYE"));
  socket.on("error", () => socket.destroy());
});

const [port, kept] = process.argv.slice(2).map(Number);
if (kept) server.keepAliveTimeout = kept;
server.listen(port, "127.0.0.1");
