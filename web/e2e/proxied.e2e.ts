/* Behind a proxy: below a path of a host, and when a new version of the page comes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits } from './axe.js';
import { closeBrowser, Person, Server, until } from './harness.js';
import { Proxy } from './proxy.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

test('proxied: all of it below a path, and nothing outside of it', async (t) => {
    const own = new Server();
    t.after(() => own.end());
    const proxy = await new Proxy(own, { path: '/chat/' }).start();
    t.after(() => proxy.end());
    own.front = proxy.url;
    await own.start();
    const setup = own.takeSetup();
    assert.ok(setup !== undefined && own.greeting.includes(`${proxy.url}#setup=`), 'the link of the greeting goes there');
    const first = await Person.open(own, 'first', 'First Person');
    await first.page.goto(proxy.url.replace(/\/$/, ''));
    assert.equal(first.page.url(), proxy.url, 'without the slash one is sent on');
    await first.signUp(`#setup=${setup}`);

    /* An invitation's link leads there. */
    await first.page.getByRole('button', { name: 'Menu', exact: true }).click();
    await first.page.getByRole('menuitem', { name: 'Invite people' }).click();
    await first.page.getByRole('button', { name: 'Create link' }).click();
    const link = await first.page.locator('[data-test=invite-link]').inputValue();
    assert.ok(link.startsWith(`${proxy.url}#invite=`), link);
    await first.page.keyboard.press('Escape');
    const second = await Person.open(own, 'second', 'Second Person');
    await second.page.goto(link);
    await second.page.getByRole('heading', { name: /^Join / }).waitFor();
    await second.signUp(new URL(link).hash);
    await second.chatWith('first');
    await second.say('from below');
    await second.status('from below', 'Delivered');
    await first.row('Second Person').click();
    await first.message('from below').waitFor();
    assert.ok(proxy.seen.some((u) => u.startsWith('upgrade /ws')), 'a WebSocket');
    assert.equal(proxy.seen.filter((u) => /stream|poll/.test(u)).length, 0, 'and nothing in its place');

    /* A reload is signed in by its cookie, which goes nowhere else on that host. */
    const cookies = await first.context.cookies(`${proxy.url}api/v1/tokens/refresh`);
    assert.deepEqual(cookies.map((c) => [c.name, c.path]), [['confab_refresh', '/chat/api/v1/tokens']]);
    await first.page.reload();
    await first.live();
    await first.message('from below').waitFor();
    const copied = await first.page.evaluate(async () => {
        const r = await navigator.serviceWorker.ready;
        const manifestUrl = document.querySelector<HTMLLinkElement>('link[rel=manifest]')?.href ?? '';
        const manifest = (await (await fetch(manifestUrl)).json()) as { start_url: string; scope: string; icons: { src: string }[] };
        const at = (u: string): string => new URL(u, manifestUrl).href;
        const icons = await Promise.all(manifest.icons.map(async (i) => (await fetch(at(i.src))).status));
        return { scope: r.scope, start: at(manifest.start_url), manifest: at(manifest.scope), icons: [...new Set(icons)] };
    });
    assert.deepEqual(copied, { scope: proxy.url, start: proxy.url, manifest: proxy.url, icons: [200] });

    /* Without the server: what the service worker has kept is below the path, too. */
    first.tolerated.push(/status of 502/);
    second.tolerated.push(/status of 502/);
    await own.stop('SIGKILL');
    await first.page.reload();
    await first.message('from below').waitFor();
    await first.page.getByText('No connection').first().waitFor();
    await own.start();
    await first.live();
    await first.close();
    await second.close();
});

test('proxied: a new version is offered, and going over to it loses nothing that was written', async (t) => {
    let build = 1;
    const proxy = new Proxy(server, {
        change(file, text) {
            if (build === 1) {
                return text;
            }
            return file === 'sw.js'
                ? text.replace(/\b[0-9a-f]{12}(?=["'`])/g, 'f'.repeat(12))
                : text.replace('</head>', '<meta name="test-build" content="2"></head>');
        },
    });
    await proxy.start();
    t.after(() => proxy.end());
    const p = await Person.open(server, 'una', 'Una', { at: proxy.url });
    const bea = await server.account('bea', 'Bea');
    const cal = await server.account('cal', 'Cal');
    p.tolerated.push(/status of 502/);
    await p.signUp();
    await p.page.evaluate(() => navigator.serviceWorker.ready);
    await until('the page is the worker\'s', () => p.page.evaluate(() => navigator.serviceWorker.controller !== null));
    await p.chatWith('bea');
    await p.say('before');
    await p.status('before', 'Sent');
    await p.composer.fill('half a thought');
    await p.chatWith('cal');
    await p.say('before, too');
    await p.status('before, too', 'Sent');
    const tab = await p.context.newPage();
    await tab.goto(p.page.url());
    await tab.locator('[data-link=live]').waitFor({ state: 'attached' });
    await p.page.bringToFront();

    proxy.setApi(false);
    await p.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
    await p.say('waiting one');
    await p.say('waiting two');
    await p.composer.fill('and a third');
    const outgoing = p.page.locator('[data-test=outgoing]');
    await until('both wait', async () => (await outgoing.count()) === 2);
    build = 2;
    /* One of the times at which it looks. The browser may still be at its own look, of before, and make one of both. */
    const offered = async (page: typeof tab): Promise<boolean> => page.getByText('A new version is ready').isVisible();
    await until('it is offered in both tabs', async () => {
        if (!(await offered(p.page))) {
            await p.page.evaluate(() => window.dispatchEvent(new Event('online')));
            await p.page.getByText('A new version is ready').waitFor({ timeout: 2000 }).catch(() => undefined);
        }
        return (await offered(p.page)) && (await offered(tab));
    });
    await accessible(p, 'a new version');
    await fits(p, 'a new version');
    await p.shot('new-version');
    assert.equal(await p.composer.inputValue(), 'and a third', 'nothing has happened yet');
    await p.page.getByRole('button', { name: 'Reload', exact: true }).click();
    for (const page of [p.page, tab]) {
        await page.locator('meta[name=test-build]').waitFor({ state: 'attached' });
        await page.locator('[data-test=conversation]').first().waitFor();
        assert.equal(await page.locator('.update').count(), 0);
    }
    await until('both still wait', async () => (await outgoing.count()) === 2);
    assert.equal(await p.composer.inputValue(), 'and a third');
    await until('one build is kept', async () => (await p.page.evaluate(() => caches.keys())).length === 1);

    proxy.setApi(true);
    await p.live();
    await p.status('waiting two', 'Sent');
    assert.equal(await p.composer.inputValue(), 'and a third');
    const told = async (token: string): Promise<string[]> => {
        const list = (await server.call('GET', '/api/v1/conversations', token))['conversations'] as { conversation_id: string }[];
        const page = await server.call('GET', `/api/v1/conversations/${list[0]?.conversation_id ?? ''}/messages`, token);
        return (page['messages'] as { content: string }[]).map((m) => m.content).sort();
    };
    assert.deepEqual(await told(cal.token), ['before, too', 'waiting one', 'waiting two']);
    assert.deepEqual(await told(bea.token), ['before']);
    await p.row('Bea').click();
    await until('the draft elsewhere, too', async () => (await p.composer.inputValue()) === 'half a thought');
    await tab.close();
    await p.close();
});
