/* What must not go wrong when everything else does: restarts, closed tabs, two tabs, long absence. */
import assert from 'node:assert/strict';
import { after, before, test, type TestContext } from 'node:test';
import { closeBrowser, Person, Server, until } from './harness.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

async function texts(p: Person): Promise<string[]> {
    const all = await p.page.locator('[data-test=message] .text').allTextContents();
    return all.map((s) => s.trim());
}

/* One that may be killed: what is left of it when a test fails stands in nobody else's way. */
async function ownServer(t: TestContext): Promise<Server> {
    const own = new Server();
    t.after(() => own.end());
    return own.start();
}

test('trouble: what is written while the server is away waits, outlives the tab, goes out in order', async (t) => {
    const server = await ownServer(t);
    const ann = await Person.join(server, 'ann', 'Ann');
    const ben = await Person.join(server, 'ben', 'Ben');
    await ann.chatWith('ben');
    await ann.say('before');
    await ann.message('before').waitFor();
    await server.stop('SIGKILL');
    await ann.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
    for (const n of ['one', 'two', 'three']) {
        await ann.say(`waiting ${n}`);
    }
    const pending = ann.page.locator('[data-test=outgoing]');
    await until('all three are shown', async () => (await pending.count()) === 3);
    assert.equal(await pending.getByRole('img', { name: 'Waiting to be sent' }).count(), 3);
    await ann.shot('offline');
    const page = await ann.context.newPage();
    await ann.page.close();
    await server.start();
    await page.goto(server.url);
    if (await page.getByRole('heading', { name: 'Sign in' }).or(page.locator('[data-link=live]')).first()
        .waitFor({ state: 'attached' }).then(() => page.getByRole('heading', { name: 'Sign in' }).isVisible())) {
        await page.getByLabel('Username').fill('ann');
        await page.getByLabel('Password').fill('plum-harbour-violet-93');
        await page.getByRole('button', { name: 'Sign in' }).click();
    }
    await ben.live();
    await ben.row('Ann').click();
    await ben.message('waiting three').waitFor();
    assert.deepEqual(await texts(ben), ['before', 'waiting one', 'waiting two', 'waiting three']);
    await page.close();
    await ann.close();
    await ben.close();
});

/* Somebody who writes to `other`, with a page that opens without a server. */
async function writer(server: Server, username: string, other: string): Promise<{ p: Person; token: string }> {
    const { token } = await server.account(other, other);
    const p = await Person.join(server, username, username);
    await p.page.evaluate(() => navigator.serviceWorker.ready);
    await until('the page is the worker\'s', () => p.page.evaluate(() => navigator.serviceWorker.controller !== null));
    await p.chatWith(other);
    await p.say('before');
    await p.status('before', 'Sent');
    return { p, token };
}

async function received(server: Server, token: string): Promise<string[]> {
    const list = (await server.call('GET', '/api/v1/conversations', token))['conversations'] as { conversation_id: string }[];
    const page = await server.call('GET', `/api/v1/conversations/${list[0]?.conversation_id ?? ''}/messages`, token);
    return (page['messages'] as { content: string }[]).map((m) => m.content);
}

test('trouble: what waits is to be seen in all tabs, whichever of them has it to send', async (t) => {
    const server = await ownServer(t);
    const { p, token } = await writer(server, 'ivo', 'jan');
    const second = await p.context.newPage();
    await second.goto(p.page.url());
    await second.locator('[data-link=live]').waitFor({ state: 'attached' });
    await p.page.bringToFront();
    await server.stop('SIGKILL');
    await p.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
    await p.say('one');
    await p.say('two');
    const waiting = async (page: typeof second): Promise<void> => {
        const all = page.locator('[data-test=outgoing] .text');
        await until('both are shown', async () => (await all.allTextContents()).join() === 'one,two');
    };
    await waiting(p.page);
    await waiting(second);
    /* The second tab comes while the first, where they were written, is not there: they are its own now. */
    const url = p.page.url();
    await p.page.goto('about:blank');
    await second.reload();
    await waiting(second);
    await p.page.goto(url);
    await waiting(p.page);
    await p.page.getByRole('button', { name: 'Menu', exact: true }).click();
    await p.page.getByRole('menuitem', { name: 'Sign out' }).click();
    await p.page.getByText('2 messages have not been sent yet').waitFor();
    await p.page.keyboard.press('Escape');
    await server.start();
    for (const page of [p.page, second]) {
        await until('none waits', async () => (await page.locator('[data-test=outgoing]').count()) === 0);
        await page.locator('[data-test=message]', { hasText: 'two' }).waitFor();
        assert.deepEqual((await page.locator('[data-test=message] .text').allTextContents()).map((s) => s.trim()), ['before', 'one', 'two']);
    }
    assert.deepEqual((await received(server, token)).sort(), ['before', 'one', 'two']);
    await second.close();
    await p.close();
});

test('trouble: a page that is left right after Enter has kept what was written', async (t) => {
    const server = await ownServer(t);
    const { p } = await writer(server, 'kim', 'lea');
    await p.page.reload();
    await p.live();
    await until('nothing waits', async () => (await p.page.locator('[data-test=outgoing]').count()) === 0);
    await server.stop('SIGKILL');
    await p.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
    const written: string[] = [];
    for (let i = 0; i < 12; i++) {
        await p.composer.fill(`text ${i}`);
        written.push(`text ${i}`);
        const left = p.page.waitForEvent('load');
        await p.page.evaluate(() => {
            document.querySelector<HTMLButtonElement>('button.send')?.click();
            location.reload();
        });
        await left;
        await p.composer.waitFor();
        const kept = p.page.locator('[data-test=outgoing] .text');
        await until('all are kept', async () => (await kept.allTextContents()).join() === written.join());
        assert.equal(await p.composer.inputValue(), '');
    }
    await p.close();
});

test('trouble: without storage it says so, and everything else works', async () => {
    const mia = await Person.open(server, 'mia', 'Mia');
    await mia.context.addInitScript(() => {
        IDBFactory.prototype.open = () => {
            throw new DOMException('not here', 'SecurityError');
        };
        Object.defineProperty(window, 'localStorage', {
            get: () => {
                throw new DOMException('not here', 'SecurityError');
            },
        });
    });
    mia.tolerated.push(/status of 400/); /* it is not known whether there is a cookie, so it asks */
    const ned = await server.account('ned', 'Ned');
    await mia.signUp();
    await mia.page.getByText('This browser does not keep messages').waitFor();
    await mia.chatWith('ned');
    await mia.say('all the same');
    await mia.status('all the same', 'Sent');
    assert.deepEqual(await received(server, ned.token), ['all the same']);
    await mia.reload();
    await mia.message('all the same').waitFor();
    await mia.close();
});

test('trouble: what is written where nothing can be loaded is shown, and sent later', async (t) => {
    const server = new Server();
    t.after(() => server.end());
    server.options = ['--large-members', '2'];
    await server.start();
    const { p, token } = await writer(server, 'ola', 'pia');
    const third = await server.account('quin', 'Quin');
    const me = await server.call('GET', '/api/v1/users/ola', token);
    const group = await server.call('POST', '/api/v1/groups', token, { name: 'Large', members: [third.id, String(me['user_id'])] });
    await p.row('Large').waitFor();
    await server.write(token, { conversation_id: String(group['conversation_id']) }, 'only told by a counter');
    await p.row('Large').locator('[data-test=unread]').waitFor();
    await server.stop('SIGKILL');
    await p.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
    await p.row('Large').click();
    await p.page.getByText('could not be loaded').waitFor();
    await p.say('all the same');
    await p.page.locator('[data-test=outgoing]', { hasText: 'all the same' }).waitFor();
    await server.start();
    await p.message('all the same').waitFor();
    await p.message('only told by a counter').waitFor();
    assert.equal(await p.page.locator('[data-test=outgoing]').count(), 0);
    await p.close();
});

test('trouble: on a phone the conversation says that there is no connection, and nobody is shown as online', async (t) => {
    const server = await ownServer(t);
    const rob = await Person.join(server, 'rob', 'Rob');
    const sue = await Person.join(server, 'sue', 'Sue', { phone: true });
    await sue.chatWith('rob');
    await sue.say('hello');
    await sue.status('hello', 'Delivered');
    await sue.page.getByRole('link', { name: 'Back' }).click();
    await sue.row('Rob').locator('[data-test=dot]').waitFor();
    await sue.row('Rob').click();
    await sue.composer.waitFor();
    const said = sue.page.locator('[data-test=pane-link]').getByText('No connection');
    assert.equal(await said.count(), 0);
    await server.stop('SIGKILL');
    await said.waitFor();
    await sue.shot('offline-phone');
    await sue.page.getByRole('link', { name: 'Back' }).click();
    await sue.row('Rob').waitFor();
    assert.equal(await sue.page.locator('[data-test=dot]').count(), 0);
    await server.start();
    await sue.live();
    await rob.live();
    await sue.row('Rob').locator('[data-test=dot]').waitFor();
    await sue.close();
    await rob.close();
});

test('trouble: a server killed in mid-conversation loses and doubles nothing', async (t) => {
    const server = await ownServer(t);
    const cat = await Person.join(server, 'cat', 'Cat');
    const dan = await Person.join(server, 'dan', 'Dan');
    for (const p of [cat, dan]) {
        p.tolerated.push(/ERR_INCOMPLETE_CHUNKED_ENCODING/); /* a killed server may come back as a stream, to be killed again */
    }
    await cat.chatWith('dan');
    await cat.say('c0');
    await dan.row('Cat').click();
    await dan.message('c0').waitFor();
    const expected = ['c0'];
    for (let round = 1; round <= 3; round++) {
        for (let i = 0; i < 4; i++) {
            await cat.say(`c${round}.${i}`);
            expected.push(`c${round}.${i}`);
            if (i === 1) {
                await server.stop('SIGKILL');
            }
        }
        await server.start();
        await cat.live();
        await cat.message(`c${round}.3`).waitFor({ timeout: 45_000 });
    }
    await dan.message('c3.3').waitFor({ timeout: 45_000 });
    assert.deepEqual(await texts(dan), expected);
    assert.deepEqual(await texts(cat), expected);
    assert.equal(await cat.page.locator('[data-test=outgoing]').count(), 0);
    await cat.status('c3.3', 'Read');
    await cat.close();
    await dan.close();
});

test('trouble: two tabs of one person see the same, and do not disturb each other', async () => {
    const fay = await Person.join(server, 'fay', 'Fay');
    const gil = await server.account('gil', 'Gil');
    const me = await server.call('GET', '/api/v1/users/fay', gil.token);
    const to = { toUserId: String(me['user_id']) };
    await server.write(gil.token, to, 'first of all');
    await fay.row('Gil').click();
    await fay.message('first of all').waitFor();
    const second = await fay.context.newPage();
    await second.goto(fay.page.url());
    const form = second.getByRole('heading', { name: 'Sign in' });
    await form.or(second.locator('[data-link=live]')).first().waitFor({ state: 'attached' });
    if (await form.isVisible()) {
        await second.getByLabel('Username').fill('fay');
        await second.getByLabel('Password').fill('plum-harbour-violet-93');
        await second.getByRole('button', { name: 'Sign in' }).click();
        await second.locator('[data-link=live]').waitFor({ state: 'attached' });
    }
    await second.locator('[data-test=message]', { hasText: 'first of all' }).waitFor();
    await fay.page.bringToFront();
    await fay.say('from the first tab');
    await second.locator('[data-test=message]', { hasText: 'from the first tab' }).waitFor();
    await second.bringToFront();
    await second.getByRole('textbox', { name: 'Message' }).fill('from the second');
    await second.getByRole('textbox', { name: 'Message' }).press('Enter');
    await fay.message('from the second').waitFor();
    /* The tab that writes the store goes; the other takes over, and a new one has everything. */
    await fay.page.close();
    await server.write(gil.token, to, 'after the first tab');
    await second.locator('[data-test=message]', { hasText: 'after the first tab' }).waitFor();
    const all = await second.locator('[data-test=message] .text').allTextContents();
    assert.deepEqual(all.map((s) => s.trim()), ['first of all', 'from the first tab', 'from the second', 'after the first tab']);
    await second.close();
    await fay.close();
});

test('trouble: opens at the first unread, loads both ways, and keeps its place', async () => {
    const eli = await Person.join(server, 'eli', 'Eli');
    const flo = await server.account('flo', 'Flo');
    const me = await server.call('GET', '/api/v1/users/eli', flo.token);
    const to = { toUserId: String(me['user_id']) };
    for (let i = 1; i <= 120; i++) {
        await server.write(flo.token, to, `old ${i}.`);
    }
    await eli.row('Flo').click();
    await eli.message('old 1.').first().waitFor();
    await eli.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await eli.message('old 120.').waitFor();
    await until('it is read', async () => (await eli.page.locator('[data-test=unread]').count()) === 0);
    await eli.page.evaluate(() => (location.hash = '#/'));
    for (let i = 1; i <= 60; i++) {
        await server.write(flo.token, to, `new ${i}.`);
    }
    await eli.row('Flo').locator('[data-test=unread]', { hasText: '60' }).waitFor();
    await eli.row('Flo').click();
    await eli.page.locator('[data-test=new-mark]').waitFor();
    const list = eli.page.locator('[data-test=messages]');
    const shows = async (text: string): Promise<boolean> => {
        if ((await eli.message(text).count()) === 0) {
            return false;
        }
        const box = await list.boundingBox();
        const at = await eli.message(text).first().boundingBox().catch(() => null);
        return box !== null && at !== null && at.y + at.height > box.y && at.y < box.y + box.height;
    };
    await until('the first unread is in sight', () => shows('new 1.'));
    await eli.shot('first-unread');
    assert.equal(await shows('new 60.'), false);
    await eli.shot('first-unread');
    /* Up to the beginning. */
    for (let i = 0; i < 40 && !(await shows('old 1.')); i++) {
        await list.evaluate((el) => (el.scrollTop = 0));
        await eli.page.waitForFunction(() => !document.querySelector('.spinner'));
    }
    await until('the beginning is in sight', () => shows('old 1.'));
    const counted = await eli.page.locator('[data-test=message]').count();
    assert.ok(counted >= 100 && counted <= 300, `${counted} messages in the page`);
    /* What comes in does not move what one looks at. */
    const before = (await eli.message('old 3.').first().boundingBox())?.y;
    await server.write(flo.token, to, 'meanwhile');
    await eli.row('Flo').getByText('meanwhile').waitFor();
    assert.equal((await eli.message('old 3.').first().boundingBox())?.y, before);
    await eli.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await until('the end is in sight', () => shows('meanwhile'));
    await until('all is read', async () => (await eli.page.locator('[data-test=unread]').count()) === 0);
    await eli.close();
});

test('trouble: signing out wipes what the browser kept', async () => {
    const sue = await Person.join(server, 'sue', 'Sue');
    const tom = await server.account('tom', 'Tom');
    const me = await server.call('GET', '/api/v1/users/sue', tom.token);
    await server.write(tom.token, { toUserId: String(me['user_id']) }, 'a secret');
    await sue.row('Tom').waitFor();
    await sue.page.getByRole('button', { name: 'Menu', exact: true }).click();
    await sue.page.getByRole('menuitem', { name: 'Sign out' }).click();
    await sue.page.getByRole('dialog').getByRole('button', { name: 'Sign out' }).click();
    await sue.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await until('no database is left', async () =>
        sue.page.evaluate(async () => (await indexedDB.databases()).length === 0));
    assert.equal(await sue.page.evaluate(() => localStorage.length), 0);
    await sue.page.getByLabel('Username').fill('sue');
    await sue.page.getByLabel('Password').fill('not the password');
    await sue.page.getByRole('button', { name: 'Sign in' }).click();
    await sue.page.getByRole('alert').filter({ hasText: 'Wrong username or password' }).waitFor();
    sue.tolerated.push(/status of 401/);
    sue.problems.splice(0, sue.problems.length, ...sue.problems.filter((x) => !/status of 401/.test(x)));
    await sue.close();
});
