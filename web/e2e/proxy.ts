/*
 * A reverse proxy as in docs/ops/proxies.md, in this process: requests and WebSocket upgrades go on
 * to a confabd, without the path below which it is served. It can also be in the way: answer for the
 * server, change what it says.
 */
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, request, type Server as HttpServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface ProxyOptions {
    /* With a slash at both ends. */
    path?: string;
    /* What a file of the server's becomes on its way; `file` is '' for the page. */
    change?: (file: string, text: string) => string;
}

export class Proxy {
    url = '';
    /* Of all that came, without the path. */
    readonly seen: string[] = [];
    /* Cuts and refuses what is no file: the server is away, the page is not. */
    apiDown = false;
    private readonly path: string;
    private readonly sockets = new Set<Socket>();
    private readonly http: HttpServer;

    constructor(
        private readonly to: { readonly url: string },
        readonly options: ProxyOptions = {},
    ) {
        this.path = options.path ?? '/';
        this.http = createServer((req, res) => {
            const url = req.url ?? '';
            if (!url.startsWith(this.path)) {
                /* Another service on the same host. */
                res.writeHead(url === this.path.slice(0, -1) ? 308 : 404, url === this.path.slice(0, -1) ? { location: this.path } : {}).end();
                return;
            }
            const inner = `/${url.slice(this.path.length)}`;
            this.seen.push(inner);
            if (this.apiDown && inner.startsWith('/api/')) {
                res.writeHead(502).end();
                return;
            }
            const file = /^\/((?:sw\.js)?)$/.exec(inner)?.[1];
            const change = file === undefined ? undefined : options.change;
            const out = request(new URL(inner, this.to.url), { method: req.method ?? 'GET', headers: this.headers(req, change !== undefined) }, (answer) => {
                const headers = this.answered(answer.headers);
                if (!change || answer.statusCode !== 200) {
                    res.writeHead(answer.statusCode ?? 502, headers);
                    answer.pipe(res);
                    return;
                }
                let text = '';
                answer.setEncoding('utf8');
                answer.on('data', (d: string) => (text += d));
                answer.on('end', () => {
                    delete headers['content-length'];
                    delete headers['etag'];
                    res.writeHead(200, headers).end(change(file ?? '', text));
                });
            });
            out.on('error', () => (res.headersSent ? res.destroy() : res.writeHead(502).end()));
            req.on('aborted', () => out.destroy());
            req.pipe(out);
        });
        this.http.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
            const url = req.url ?? '';
            if (!url.startsWith(this.path) || this.apiDown) {
                socket.destroy();
                return;
            }
            const inner = `/${url.slice(this.path.length)}`;
            this.seen.push(`upgrade ${inner}`);
            const there = new URL(this.to.url);
            const out = connect(Number(there.port), there.hostname, () => {
                const lines = Object.entries(this.headers(req, false)).map(([k, v]) => `${k}: ${String(v)}`);
                out.write(`${req.method ?? 'GET'} ${inner} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
                out.write(head);
                out.pipe(socket);
                socket.pipe(out);
            });
            this.sockets.add(socket);
            for (const [one, other] of [[socket, out], [out, socket]] as const) {
                one.on('error', () => other.destroy());
                one.on('close', () => other.destroy());
            }
            socket.on('close', () => this.sockets.delete(socket));
        });
    }

    private headers(req: IncomingMessage, plain: boolean): OutgoingHttpHeaders {
        const headers: OutgoingHttpHeaders = { ...req.headers, 'x-forwarded-for': req.socket.remoteAddress };
        if (plain) {
            delete headers['accept-encoding'];
            delete headers['if-none-match'];
        }
        return headers;
    }

    /* The server's cookies are for paths as it knows them. */
    private answered(from: IncomingMessage['headers']): OutgoingHttpHeaders {
        const headers: OutgoingHttpHeaders = { ...from };
        delete headers['transfer-encoding'];
        delete headers['connection'];
        const cookies = from['set-cookie'];
        if (cookies) {
            headers['set-cookie'] = cookies.map((c) => c.replace(/; Path=\//i, `; Path=${this.path}`));
        }
        return headers;
    }

    async start(): Promise<this> {
        await new Promise<void>((done) => this.http.listen(0, '127.0.0.1', done));
        this.url = `http://127.0.0.1:${(this.http.address() as AddressInfo).port}${this.path}`;
        return this;
    }

    /* No API and no sockets until it is true again. */
    setApi(up: boolean): void {
        this.apiDown = !up;
        if (!up) {
            this.sockets.forEach((s) => s.destroy());
        }
    }

    async end(): Promise<void> {
        this.sockets.forEach((s) => s.destroy());
        this.http.closeAllConnections();
        await new Promise((done) => this.http.close(done));
    }
}
