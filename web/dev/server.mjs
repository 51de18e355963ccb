/*
 * For work on the page: builds it again whenever it is asked for, and passes /api and /ws on to a
 * confabd that runs elsewhere on this machine.
 *
 *     node dev/server.mjs [port] [url of confabd]      (8010, http://127.0.0.1:8008)
 */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const port = Number(process.argv[2] ?? 8010);
const behind = new URL(process.argv[3] ?? 'http://127.0.0.1:8008');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

/* The server looks at Host and Origin: they have to be its own. */
function headersFor(req) {
    const headers = { ...req.headers, host: behind.host };
    if (headers.origin !== undefined) {
        headers.origin = behind.origin;
    }
    return headers;
}

const server = createServer((req, res) => {
    if (req.url.startsWith('/api/')) {
        const on = request(new URL(req.url, behind), { method: req.method, headers: headersFor(req) }, (answer) => {
            res.writeHead(answer.statusCode, answer.headers);
            answer.pipe(res);
        });
        on.on('error', () => res.writeHead(502).end());
        req.pipe(on);
        return;
    }
    const path = normalize(new URL(req.url, 'http://x').pathname);
    if (path === '/') {
        spawnSync(process.execPath, [join(web, 'build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
    }
    readFile(join(web, 'dist', path === '/' ? 'index.html' : path)).then(
        (data) => res.writeHead(200, { 'content-type': types[extname(path)] ?? types['.html'] }).end(data),
        () => res.writeHead(404).end(),
    );
});
server.on('upgrade', (req, socket) => {
    const on = connect(Number(behind.port || 80), behind.hostname, () => {
        const headers = Object.entries(headersFor(req)).map(([k, v]) => `${k}: ${v}`);
        on.write(`GET ${req.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
        on.pipe(socket).pipe(on);
    });
    on.on('error', () => socket.destroy());
    socket.on('error', () => on.destroy());
});
server.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${port}/ before ${behind.origin}`));
