/*
 * Measures the page (tools/measure.mjs): key press to own message, socket to screen, opening from the
 * store without a network, a cold start from the store, and scrolling through everything. Times are
 * the page's own clock; "on the screen" is the first task after the frame in which it was painted.
 */
import { parseArgs } from 'node:util';
import { arch, cpus, loadavg } from 'node:os';
import type { CDPSession } from 'playwright-core';
import { closeBrowser, openBrowser, Person, Server, until } from './harness.js';

const { values } = parseArgs({
    options: {
        conversations: { type: 'string', default: '1000' },
        messages: { type: 'string', default: '100000' },
        rounds: { type: 'string', default: '60' },
        scroll: { type: 'string' },
    },
});
const CONVERSATIONS = Number(values.conversations);
const MESSAGES = Number(values.messages);
const ROUNDS = Number(values.rounds);
/* Down to which message it is scrolled. */
const SCROLL_TO = Math.max(MESSAGES - Number(values.scroll ?? MESSAGES), 2);
const WRITERS = 4;

interface Measured {
    what: string;
    ms: number[];
    /* Frames from the beginning to the one that shows it. */
    frames?: number[];
}

function say(text: string): void {
    process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

function print(text: string): void {
    process.stdout.write(`${text}\n`);
}

function quantile(list: number[], q: number): number {
    const sorted = [...list].sort((a, b) => a - b);
    return sorted[Math.min(Math.floor(sorted.length * q), sorted.length - 1)] ?? NaN;
}

/* ---- Filling ---- */

/* Sends over sockets from a page of the server's, where nobody has signed in: many at once, in the order of each. */
async function fill(server: Server, tokens: string[], jobs: { to: string; count: number }[]): Promise<void> {
    const context = await (await openBrowser()).newContext();
    const page = await context.newPage();
    await page.goto(server.url);
    await page.evaluate(
        async ({ tokens, jobs }) => {
            const words = 'the quick plan for Friday needs more time and better shoes than anybody thought'.split(' ');
            const text = (n: number) => `message ${n}: ${words.slice(0, 2 + (n % words.length)).join(' ')}${n % 17 === 0 ? '\n**second line**' : ''}`;
            await Promise.all(
                tokens.map(
                    (token, k) =>
                        new Promise<void>((done, fail) => {
                            const mine = jobs.map((j) => ({ to: j.to, count: Math.ceil((j.count - k) / tokens.length) })).filter((j) => j.count > 0);
                            const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/ws`);
                            let open = 0;
                            let max = 8;
                            let n = 0;
                            const again: string[] = [];
                            const pump = () => {
                                while (open < max && (again.length > 0 || mine.length > 0)) {
                                    let frame = again.shift();
                                    const job = mine[0];
                                    if (frame === undefined && job) {
                                        frame = JSON.stringify({
                                            event: 'send_message', conversation_id: job.to, content: text(n),
                                            client_msg_id: `fill-${k}-${n}`, fresh: true,
                                        });
                                        n++;
                                        job.count--;
                                        if (job.count === 0) {
                                            mine.shift();
                                        }
                                    }
                                    socket.send(frame ?? '');
                                    open++;
                                    if (frame !== undefined) {
                                        sent.set((JSON.parse(frame) as { client_msg_id: string }).client_msg_id, frame);
                                    }
                                }
                                if (open === 0 && mine.length === 0 && again.length === 0) {
                                    socket.close();
                                    done();
                                }
                            };
                            const sent = new Map<string, string>();
                            socket.onopen = () => socket.send(JSON.stringify({ event: 'auth', token }));
                            socket.onclose = (e) => fail(new Error(`the socket was closed while filling: ${e.code} ${e.reason}`));
                            socket.onmessage = (e) => {
                                const frames = [JSON.parse(String(e.data))].flat() as Record<string, unknown>[];
                                for (const f of frames) {
                                    const id = String(f['client_msg_id']);
                                    if (f['event'] === 'hello') {
                                        max = Math.max(Number((f['limits'] as Record<string, number>)['inflight']) - 8, 4);
                                    } else if (f['event'] === 'ack') {
                                        open--;
                                        sent.delete(id);
                                    } else if (f['event'] === 'error' && sent.has(id)) {
                                        open--;
                                        const frame = sent.get(id) ?? '';
                                        setTimeout(() => {
                                            again.push(frame);
                                            pump();
                                        }, Number(f['retry_after_ms'] ?? 200));
                                    } else if (f['event'] === 'reconnect' || f['event'] === 'error') {
                                        fail(new Error(JSON.stringify(f)));
                                    }
                                }
                                pump();
                            };
                        }),
                ),
            );
        },
        { tokens, jobs },
    );
    await context.close();
}

async function group(server: Server, token: string, name: string, members: string[]): Promise<string> {
    for (;;) {
        try {
            return String((await server.call('POST', '/api/v1/groups', token, { name, member_ids: members }))['conversation_id']);
        } catch (e) {
            if (!/: (429|503) /.test(String(e))) {
                throw e;
            }
            await new Promise((done) => setTimeout(done, 250));
        }
    }
}

/* ---- In the page ---- */

/* Runs before the page's own script: notes when frames of the socket come and when things appear. */
function watcher(): void {
    const w = window as unknown as Record<string, unknown>;
    const heard = new Map<string, number>();
    const Plain = window.WebSocket;
    class Heard extends Plain {
        constructor(...args: ConstructorParameters<typeof WebSocket>) {
            super(...args);
            this.addEventListener('message', (e: MessageEvent<unknown>) => {
                const mark = /PROBE\d+/.exec(String(e.data))?.[0];
                if (mark !== undefined && !heard.has(mark)) {
                    heard.set(mark, performance.now());
                }
            });
        }
    }
    window.WebSocket = Heard;
    w['heard'] = heard;
    /* When something that fits is in the page and painted, and how many frames that took. */
    w['painted'] = (selector: string, text: string, from: () => number | undefined) =>
        new Promise((done) => {
            let frames = 0;
            const there = () => [...document.querySelectorAll(selector)].slice(-3).some((el) => (el.textContent ?? '').includes(text));
            const step = () => {
                const start = from();
                if (start !== undefined) {
                    frames++;
                }
                if (start !== undefined && there()) {
                    /* This frame paints it. */
                    const channel = new MessageChannel();
                    channel.port1.onmessage = () => done({ ms: performance.now() - start, frames });
                    channel.port2.postMessage(0);
                } else {
                    requestAnimationFrame(step);
                }
            };
            requestAnimationFrame(step);
        });
    addEventListener('keydown', (e) => (w['keyAt'] = e.timeStamp), true);
    addEventListener('click', (e) => (w['clickAt'] = e.timeStamp), true);
    let rows = 0;
    const first = () => {
        rows = document.querySelectorAll('[data-test=conversation]').length;
        if (rows === 0) {
            requestAnimationFrame(first);
        } else {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => (w['listAt'] = performance.now());
            channel.port2.postMessage(0);
        }
    };
    requestAnimationFrame(first);
}

type Painted = { ms: number; frames: number };
declare function painted(selector: string, text: string, from: () => number | undefined): Promise<Painted>;

async function ownMessages(me: Person): Promise<Measured> {
    const ms: number[] = [];
    const frames: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
        await me.composer.fill(`own ${i} of the measurement`);
        await me.page.evaluate(() => delete (window as unknown as Record<string, unknown>)['keyAt']);
        const seen = me.page.evaluate(
            (text) => painted('[data-test=outgoing], [data-test=message]', text, () => (window as unknown as { keyAt?: number }).keyAt),
            `own ${i} of`,
        );
        await me.page.keyboard.press('Enter');
        const p = await seen;
        ms.push(p.ms);
        frames.push(p.frames);
    }
    return { what: 'key press → own message on the screen', ms, frames };
}

async function othersMessages(me: Person, server: Server, token: string, to: string): Promise<Measured> {
    const ms: number[] = [];
    const frames: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
        const mark = `PROBE${i}`;
        const seen = me.page.evaluate(
            (m) => painted('[data-test=message]', `${m} `, () => (window as unknown as { heard: Map<string, number> }).heard.get(m)),
            mark,
        );
        await server.write(token, { conversation_id: to }, `${mark} from somebody else`);
        const p = await seen;
        ms.push(p.ms);
        frames.push(p.frames);
    }
    return { what: 'socket → message of somebody else on the screen', ms, frames };
}

async function opening(me: Person, names: string[]): Promise<Measured> {
    const ms: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
        const name = names[i % names.length] ?? '';
        await me.page.getByRole('searchbox').first().fill(name);
        const row = me.page.locator('[data-test=conversation]', { hasText: name }).first();
        await row.waitFor();
        await me.page.evaluate(() => delete (window as unknown as Record<string, unknown>)['clickAt']);
        const seen = me.page.evaluate(
            (n) =>
                painted('main.pane', n, () => {
                    const shown = document.querySelector('main.pane [data-seq]') !== null && document.querySelector('main.pane h2')?.textContent === n;
                    return shown ? (window as unknown as { clickAt?: number }).clickAt : undefined;
                }),
            name,
        );
        await row.click();
        ms.push((await seen).ms);
    }
    return { what: 'click → conversation on the screen, from the store, without a network', ms };
}

async function coldStarts(me: Person): Promise<Measured[]> {
    const list: number[] = [];
    const live: number[] = [];
    for (let i = 0; i < Math.max(Math.round(ROUNDS / 6), 5); i++) {
        await me.page.goto('about:blank');
        await me.page.goto(me.server.url);
        await me.page.waitForFunction(() => (window as unknown as { listAt?: number }).listAt !== undefined);
        list.push(await me.page.evaluate(() => (window as unknown as { listAt: number }).listAt));
        await me.live();
        live.push(await me.page.evaluate(() => performance.now()));
    }
    return [
        { what: 'navigation → list of conversations on the screen, from the store', ms: list },
        { what: 'navigation → in step with the server', ms: live },
    ];
}

interface Memory {
    at: string;
    heap: number;
    nodes: number;
    messages: number;
}

async function memory(me: Person, session: CDPSession, at: string): Promise<Memory> {
    const messages = await me.page.locator('[data-seq]').count();
    await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    const value = (name: string) => metrics.find((m) => m.name === name)?.value ?? NaN;
    return { at, heap: value('JSHeapUsedSize') / 2 ** 20, nodes: value('Nodes'), messages };
}

/* From the end to the beginning, as fast as it loads. */
async function scrollThrough(me: Person): Promise<{ series: Memory[]; seconds: number; longest: number }> {
    const session = await me.context.newCDPSession(me.page);
    await session.send('Performance.enable');
    const series = [await memory(me, session, 'at the end')];
    const begun = Date.now();
    let longest = 0;
    for (let low = MESSAGES; low > SCROLL_TO; ) {
        const step = await me.page.evaluate(async (goal) => {
            const box = document.querySelector<HTMLElement>('[data-test=messages]');
            const lowest = () => Number(document.querySelector<HTMLElement>('[data-seq]')?.dataset['seq'] ?? 0);
            let worst = 0;
            let idle = 0;
            for (let at = lowest(), last = performance.now(); box && at > goal && idle < 400; ) {
                box.scrollTop -= 700;
                await new Promise((done) => requestAnimationFrame(done));
                const now = performance.now();
                worst = Math.max(worst, now - last);
                last = now;
                const next = lowest();
                idle = next === at && box.scrollTop === 0 ? idle + 1 : 0;
                at = next;
            }
            return { low: lowest(), worst, idle };
        }, Math.max(low - 10_000, SCROLL_TO));
        if (step.low === low || step.idle >= 400) {
            throw new Error(`scrolling stops at ${step.low}`);
        }
        low = step.low;
        longest = Math.max(longest, step.worst);
        series.push(await memory(me, session, `at ${low}`));
        say(`scrolled to ${low}: ${series.at(-1)?.heap.toFixed(1)} MiB, ${series.at(-1)?.nodes} nodes, ${series.at(-1)?.messages} messages`);
    }
    return { series, seconds: (Date.now() - begun) / 1000, longest };
}

/* ---- ---- */

const server = new Server();
try {
    await server.start();
    const me = await Person.open(server, 'me', 'Me');
    const { token, id } = await server.account('me', 'Me');
    const others = [];
    for (let i = 0; i < WRITERS; i++) {
        others.push(await server.account(`writer${i}`, `Writer ${i}`));
    }
    const tokens = others.map((o) => o.token);
    say('making conversations');
    const members = [id, ...others.map((o) => o.id)];
    const names = Array.from({ length: CONVERSATIONS - 1 }, (_, i) => `Group ${String(i).padStart(4, '0')}`);
    const ids: string[] = [];
    for (let i = 0; i < names.length; i += 16) {
        const some = names.slice(i, i + 16).map((n, k) => group(server, tokens[k % WRITERS] ?? '', n, members));
        ids.push(...(await Promise.all(some)));
    }
    say('writing in each');
    await fill(server, tokens, ids.map((to) => ({ to, count: 8 })));
    const big = await group(server, tokens[0] ?? '', 'The big one', members);
    say(`writing ${MESSAGES} messages`);
    const begun = Date.now();
    await fill(server, tokens, [{ to: big, count: MESSAGES }]);
    say(`filled at ${Math.round(MESSAGES / ((Date.now() - begun) / 1000))} messages/s`);
    await server.call('POST', `/api/v1/conversations/${big}/read`, token, { seq: MESSAGES });

    await me.page.addInitScript(watcher);
    await me.page.goto(server.url);
    await me.signIn();
    await until('all conversations are there', async () => (await me.page.locator('[data-test=conversation]').count()) >= Math.min(CONVERSATIONS, 10));
    await me.page.evaluate((c) => (location.hash = `#/c/${c}`), big);
    await me.page.locator(`[data-seq="${MESSAGES + 1}"]`).waitFor();
    /* The whole window, as after scrolling. */
    const results: Measured[] = [];
    say('scrolling through');
    const scroll = await scrollThrough(me);
    await me.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await me.page.locator(`[data-seq="${MESSAGES + 1}"]`).waitFor();
    say('own messages');
    results.push(await ownMessages(me));
    say('messages of others');
    results.push(await othersMessages(me, server, tokens[1] ?? '', big));
    say('cold starts');
    results.push(...(await coldStarts(me)));
    say('opening without a network');
    await me.context.setOffline(true);
    results.push(await opening(me, names.slice(0, 200).filter((_, i) => i % 7 === 0)));
    await me.context.setOffline(false);
    await me.context.close();

    print(`${CONVERSATIONS} conversations, ${MESSAGES} messages in one; ${cpus().length} × ${cpus()[0]?.model.trim()} (${arch()}), load ${loadavg()[0]?.toFixed(1)}\n`);
    print('| what | median | p95 | most | n |\n| --- | --- | --- | --- | --- |');
    for (const r of results) {
        const cells = [0.5, 0.95, 1].map((q) => {
            const frames = r.frames ? `, frame ${quantile(r.frames, q)}` : '';
            return `${quantile(r.ms, q).toFixed(1)} ms${frames}`;
        });
        print(`| ${r.what} | ${cells.join(' | ')} | ${r.ms.length} |`);
    }
    print(`\nScrolling through ${MESSAGES + 2 - SCROLL_TO} messages: ${scroll.seconds.toFixed(0)} s, longest frame ${scroll.longest.toFixed(0)} ms.\n`);
    print('| place | heap after collection | DOM nodes | messages in the page |\n| --- | --- | --- | --- |');
    for (const m of scroll.series) {
        print(`| ${m.at} | ${m.heap.toFixed(1)} MiB | ${m.nodes} | ${m.messages} |`);
    }
} finally {
    await closeBrowser();
    await server.end();
}
