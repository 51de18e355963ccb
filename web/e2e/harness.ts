/*
 * A real confabd on a free port with a data directory of its own, Debian's Chromium, and people who
 * use the page in it. Every page is watched: an error on the console, an exception, a violation of
 * the content security policy or a request to another host fails the test.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';

const BUILD = resolve(process.env['CONFAB_BUILD'] ?? '../build/debug');
const CHROMIUM = process.env['CONFAB_CHROMIUM'] ?? '/usr/bin/chromium';
export const SHOTS = process.env['CONFAB_SHOTS'];
export const PASSWORD = 'plum-harbour-violet-93';

/* ---- The server ---- */

async function freePort(): Promise<number> {
    const one = createServer();
    await new Promise<void>((done) => one.listen(0, '127.0.0.1', done));
    const { port } = one.address() as AddressInfo;
    await new Promise((done) => one.close(done));
    return port;
}

export class Server {
    url = '';
    /* Where people reach it, if that is elsewhere: a proxy. Set it before start(). */
    front: string | undefined;
    greeting = '';
    /* Options beside the usual ones. Set them before start(). */
    options: string[] = [];
    private setup: string | undefined;
    private process: ChildProcess | undefined;
    private port = 0;
    private admin: Promise<string> | undefined;
    private readonly data = mkdtempSync(join(tmpdir(), 'confab-e2e-'));

    async start(): Promise<this> {
        const args = ['--data', this.data, '--password-cost', 'low', ...this.options];
        if (this.front !== undefined) {
            /* It tells the address of the proxy then, not its own. */
            this.port ||= await freePort();
            args.push('--public-url', this.front);
        }
        args.push('--port', String(this.port));
        /* It ends with this process, however that ends. */
        const child = spawn('setpriv', ['--pdeathsig', 'KILL', join(BUILD, 'confabd'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
        this.process = child;
        let out = '';
        let err = '';
        child.stderr.on('data', (d: Buffer) => (err = (err + d.toString()).slice(-8000)));
        const told = await new Promise<string>((done, fail) => {
            const late = setTimeout(() => fail(new Error(`confabd is not up\n${out}\n${err}`)), 30_000);
            const look = (): void => {
                const url = /serves at (http:\/\/\S+)/.exec(out)?.[1];
                /* All of the greeting comes at once, the link of the first administrator in it. */
                if (url !== undefined && /stops it/.test(out)) {
                    clearTimeout(late);
                    this.setup ??= /#setup=([\w.~-]+)/.exec(out)?.[1];
                    done(url);
                }
            };
            child.stdout.on('data', (d: Buffer) => {
                out += d.toString();
                look();
            });
            child.on('exit', (code) => {
                clearTimeout(late);
                fail(new Error(`confabd ended with ${code}\n${err}`));
            });
        });
        this.greeting = out;
        this.port = this.front === undefined ? Number(new URL(told).port) : this.port;
        this.url = `http://127.0.0.1:${this.port}/`;
        return this;
    }

    /* What one opens in a browser. */
    get page(): string {
        return this.front ?? this.url;
    }

    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
        const child = this.process;
        this.process = undefined;
        if (child && child.exitCode === null) {
            const ended = new Promise((done) => child.once('exit', done));
            child.kill(signal);
            await ended;
        }
    }

    async end(): Promise<void> {
        await this.stop('SIGKILL');
        rmSync(this.data, { recursive: true, force: true });
    }

    /* The link of the first administrator; undefined once it is used, or where there is none. */
    takeSetup(): string | undefined {
        const code = this.setup;
        this.setup = undefined;
        return code;
    }

    async call(method: string, path: string, token: string | undefined, body?: unknown): Promise<Record<string, unknown>> {
        const answer = await fetch(new URL(path, this.url), {
            method,
            headers: {
                'content-type': 'application/json',
                ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
            },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        const text = await answer.text();
        if (!answer.ok) {
            throw new Error(`${method} ${path}: ${answer.status} ${text}`);
        }
        return (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
    }

    async token(username: string): Promise<string> {
        const made = await this.call('POST', '/api/v1/tokens', undefined, { username, password: PASSWORD });
        return String(made['access_token'] ?? made['token']);
    }

    /* Undefined where registration is open. */
    async invite(): Promise<string | undefined> {
        if (this.setup !== undefined && !this.admin) {
            const invite = this.takeSetup();
            this.admin = this.call('POST', '/api/v1/accounts', undefined, {
                username: 'warden',
                password: PASSWORD,
                invite,
            }).then(() => this.token('warden'));
        }
        if (!this.admin) {
            return undefined;
        }
        const made = await this.call('POST', '/api/v1/invites', await this.admin, { uses_max: 50 });
        return String(made['code']);
    }

    adopt(username: string): void {
        this.admin = this.token(username);
    }

    /* An account without a browser, for whoever only writes. Returns its token and id. */
    async account(username: string, displayName = username): Promise<{ token: string; id: string }> {
        const invite = await this.invite();
        const user = await this.call('POST', '/api/v1/accounts', undefined, {
            username,
            password: PASSWORD,
            display_name: displayName,
            ...(invite === undefined ? {} : { invite }),
        });
        return { token: await this.token(username), id: String(user['user_id']) };
    }

    async write(token: string, to: { toUserId: string } | { conversation_id: string }, content: string): Promise<Record<string, unknown>> {
        return this.call('POST', '/api/v1/messages', token, { ...to, content });
    }
}

/* ---- The browser ---- */

let browser: Browser | undefined;

export async function openBrowser(): Promise<Browser> {
    if (!existsSync(CHROMIUM)) {
        throw new Error(`no Chromium at ${CHROMIUM}`);
    }
    browser ??= await chromium.launch({
        executablePath: CHROMIUM,
        args: [
            '--no-sandbox',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-default-apps',
            '--disable-sync',
            '--no-first-run',
            '--disable-dev-shm-usage',
        ],
    });
    return browser;
}

export async function closeBrowser(): Promise<void> {
    await browser?.close();
    browser = undefined;
}

export interface Look {
    phone?: boolean;
    dark?: boolean;
    locale?: string;
    /* Where the page is opened, if not where the server says. */
    at?: string;
}

export class Person {
    readonly problems: string[] = [];
    private constructor(
        readonly server: Server,
        readonly username: string,
        readonly name: string,
        readonly context: BrowserContext,
        readonly page: Page,
        readonly home: string,
    ) {
        page.on('console', (m) => {
            if (m.type() === 'error' && !this.expected(m.text(), m.location().url)) {
                this.problems.push(`console: ${m.text()} ${m.location().url}`);
            }
        });
        page.on('pageerror', (e) => this.problems.push(`exception: ${e.message}`));
        page.on('request', (r) => {
            const url = new URL(r.url());
            if (url.host !== new URL(home).host && !['data:', 'blob:'].includes(url.protocol)) {
                this.problems.push(`a request to ${r.url()}`);
            }
        });
    }

    /* What a test provokes: no connection, and the sign-in that there is none yet. */
    tolerated = [/ERR_CONNECTION|ERR_SOCKET_NOT_CONNECTED|ERR_INTERNET_DISCONNECTED|ERR_EMPTY_RESPONSE|WebSocket connection to|ERR_NETWORK/];

    private expected(text: string, url: string): boolean {
        const known = /api\/v1\/(invites\/check|users\?)/.test(url) && /40[0-9]/.test(text);
        return known || this.tolerated.some((r) => r.test(text));
    }

    static async open(server: Server, username: string, name: string, look: Look = {}): Promise<Person> {
        const context = await (await openBrowser()).newContext({
            viewport: look.phone ? { width: 390, height: 780 } : { width: 1180, height: 760 },
            colorScheme: look.dark ? 'dark' : 'light',
            locale: look.locale ?? 'en-GB',
            timezoneId: 'Europe/Berlin',
            ...(look.phone ? { hasTouch: true, isMobile: true } : {}),
        });
        context.setDefaultTimeout(15_000);
        return new Person(server, username, name, context, await context.newPage(), look.at ?? server.page);
    }

    /* Signs up as a new person does. */
    static async join(server: Server, username: string, name: string, look: Look = {}): Promise<Person> {
        const p = await Person.open(server, username, name, look);
        await p.signUp();
        return p;
    }

    /* The form for a new account. */
    async toSignUp(hash?: string): Promise<void> {
        const invite = hash ?? (await this.server.invite().then((c) => (c === undefined ? '' : `#invite=${c}`)));
        await this.page.goto(this.home + invite);
        if (invite === '') {
            await this.page.getByRole('button', { name: 'Create an account' }).click();
        }
    }

    async signUp(hash?: string): Promise<void> {
        await this.toSignUp(hash);
        await this.page.getByLabel('Your name').fill(this.name);
        await this.page.getByLabel('Username').fill(this.username);
        await this.page.getByLabel('Password').fill(PASSWORD);
        await this.page.getByRole('button', { name: 'Create account' }).click();
        await this.live();
    }

    async signIn(): Promise<void> {
        await this.page.getByLabel('Username').fill(this.username);
        await this.page.getByLabel('Password').fill(PASSWORD);
        await this.page.getByRole('button', { name: 'Sign in' }).click();
        await this.live();
    }

    /* Opens the page anew. Servers without refresh tokens ask for the password again. */
    async reload(): Promise<void> {
        await this.page.reload();
        const state = this.page.locator('[data-link=live]');
        const form = this.page.getByRole('heading', { name: 'Sign in' });
        await state.or(form).waitFor({ state: 'attached' });
        if (await form.isVisible()) {
            await this.signIn();
        }
    }

    /* A page waits up to 30 s before it tries again, and a try may come just before the server does. */
    async live(): Promise<void> {
        await this.page.locator('[data-link=live]').waitFor({ state: 'attached', timeout: 90_000 });
    }

    async chatWith(other: string): Promise<void> {
        await this.page.getByRole('button', { name: 'New chat' }).first().click();
        await this.page.getByRole('searchbox', { name: 'Search by name' }).fill(other);
        const person = this.page.locator('[data-test=person]').first();
        const name = (await person.locator('.person-name').textContent()) ?? '';
        await person.click();
        /* Not the one that was open before. */
        await this.page.locator('main').getByRole('heading', { name, exact: true }).waitFor();
        await this.page.getByRole('textbox', { name: 'Message' }).waitFor();
    }

    /* Answers the question before something that cannot be taken back. */
    async confirm(action: string): Promise<void> {
        await this.page.getByRole('alertdialog').getByRole('button', { name: action, exact: true }).click();
    }

    get composer(): Locator {
        return this.page.getByRole('textbox', { name: 'Message' });
    }

    async say(text: string): Promise<void> {
        await this.composer.fill(text);
        await this.composer.press('Enter');
    }

    message(text: string): Locator {
        return this.page.locator('[data-test=message]', { hasText: text });
    }

    row(title: string): Locator {
        return this.page.locator('[data-test=conversation]', { hasText: title });
    }

    async status(text: string, status: string): Promise<void> {
        await this.message(text).getByRole('img', { name: status, exact: true }).waitFor();
    }

    async shot(name: string): Promise<void> {
        if (SHOTS) {
            mkdirSync(SHOTS, { recursive: true });
            await this.page.screenshot({ path: join(SHOTS, `${name}.png`) });
        }
    }

    async close(): Promise<void> {
        await this.context.close();
        if (this.problems.length > 0) {
            throw new Error(`${this.name}'s page had problems:\n${this.problems.join('\n')}`);
        }
    }
}

/* Until the condition holds. */
export async function until(what: string, ok: () => Promise<boolean> | boolean): Promise<void> {
    const end = Date.now() + 15_000;
    while (!(await ok())) {
        if (Date.now() > end) {
            throw new Error(`still not so: ${what}`);
        }
        await new Promise((done) => setTimeout(done, 25));
    }
}
