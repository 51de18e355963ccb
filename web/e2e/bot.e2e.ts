/* The bot of packages/client/README.md, as it stands there, in Node against a real server. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { build } from 'esbuild';
import { PASSWORD, Server, until } from './harness.js';

const server = new Server();
let bot: ChildProcess | undefined;
before(async () => void (await server.start()));
after(async () => {
    bot?.kill('SIGKILL');
    await server.end();
});

/* The first block of code with an import in it. */
function example(): string {
    const readme = readFileSync(resolve('packages/client/README.md'), 'utf8');
    const code = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1] ?? '').find((c) => c.includes('import '));
    assert.ok(code !== undefined, 'the README has a program');
    return code;
}

test('bot: the program of the README answers what is written to it', async () => {
    const folder = resolve('node_modules/.cache/confab-bot');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'bot.ts'), example());
    const outfile = join(folder, 'bot.mjs');
    await build({ entryPoints: [join(folder, 'bot.ts')], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node18', external: ['ws'] });

    const echo = await server.account('echo', 'Echo');
    const ada = await server.account('ada', 'Ada');
    const env = { ...process.env, CONFAB_URL: server.url, CONFAB_USER: 'echo', CONFAB_PASSWORD: PASSWORD };
    bot = spawn(process.execPath, [outfile], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    bot.stdout?.on('data', (d: Buffer) => (said += d.toString()));
    bot.stderr?.on('data', (d: Buffer) => (said += d.toString()));
    let ended: number | null | undefined;
    bot.once('exit', (code) => (ended = code));
    await until('the bot is there', () => {
        assert.equal(ended, undefined, said);
        return said.includes('live');
    });
    const sent = await server.write(ada.token, { toUserId: echo.id }, 'anybody home?');
    const conv = String(sent['conversation_id']);
    await until('it has answered', async () => {
        const page = await server.call('GET', `/api/v1/conversations/${conv}/messages`, ada.token);
        return (page['messages'] as { content: string }[]).some((m) => m.content === 'You said: anybody home?');
    });
    bot.kill('SIGTERM');
    await until('it ends when it is asked to', () => ended !== undefined);
    assert.equal(ended, 0, said);
});
