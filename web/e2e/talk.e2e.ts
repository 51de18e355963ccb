/* The conversation itself: texts with marks, mentions, emoji, replies far back, links to messages, a
 * place that is kept, readers, typing, drafts, several messages at once. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closeBrowser, Person, Server, until } from './harness.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

async function idOf(token: string, username: string): Promise<string> {
    return String((await server.call('GET', `/api/v1/users/${username}`, token))['user_id']);
}

async function menu(p: Person, text: string, item: string): Promise<void> {
    await p.message(text).first().hover();
    await p.message(text).first().getByRole('button', { name: 'Message actions' }).click();
    await p.page.getByRole('menuitem', { name: item }).click();
}

/* Is the message inside the list's box? */
async function shows(p: Person, text: string): Promise<boolean> {
    return p.page.evaluate((wanted) => {
        const box = document.querySelector('[data-test=messages]')?.getBoundingClientRect();
        const found = [...document.querySelectorAll('[data-test=message] .text')].find((m) => m.textContent === wanted);
        const at = found?.getBoundingClientRect();
        return box !== undefined && at !== undefined && at.bottom > box.top && at.top < box.bottom;
    }, text);
}

/* DOM nodes that are still held after everything that can go was collected, in the page or not. */
async function nodesInMemory(p: Person): Promise<number> {
    const session = await p.context.newCDPSession(p.page);
    await session.send('HeapProfiler.collectGarbage');
    const { nodes } = await session.send('Memory.getDOMCounters');
    await session.detach();
    return nodes;
}

test('talk: marks, code, lists and links are shown; nothing that is written becomes HTML', async () => {
    const ana = await Person.join(server, 'ana', 'Ana');
    const bea = await Person.join(server, 'bea', 'Bea');
    await ana.chatWith('bea');
    await ana.say('**Bold** and _soft_, ~~gone~~, `code <b>`\n> said before\n- one\n- two\n```\nlet x = 1;\n```\n[site](https://example.org/x)');
    await bea.row('Ana').click();
    const m = bea.message('said before');
    await m.waitFor();
    assert.deepEqual(
        await m.locator('.text').evaluate((el) =>
            ['strong', 'em', 'del', 'code', 'blockquote', 'li', 'pre', 'a'].map((tag) => el.querySelector(tag)?.textContent)),
        ['Bold', 'soft', 'gone', 'code <b>', 'said before', 'one', 'let x = 1;', 'site'],
    );
    const link = m.getByRole('link', { name: 'site' });
    assert.deepEqual(
        [await link.getAttribute('href'), await link.getAttribute('rel'), await link.getAttribute('target')],
        ['https://example.org/x', 'noopener noreferrer nofollow', '_blank'],
    );
    const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script> [x](javascript:document.title=3)';
    await ana.say(evil);
    await bea.message('onerror').waitFor();
    assert.equal(await bea.message('onerror').locator('.text').textContent(), evil);
    assert.equal(await bea.message('onerror').locator('.text img, .text script, .text a').count(), 0);
    await ana.shot('talk-marks');
    await ana.close();
    await bea.close();
});

test('talk: mentions are offered, picked by keyboard, and shown to whom they are for', async () => {
    const cora = await Person.join(server, 'cora', 'Cora Vance');
    const dora = await Person.join(server, 'dora', 'Dora Quist');
    const token = await server.token('cora');
    const group = await server.call('POST', '/api/v1/groups', token, { name: 'Choir', member_ids: [await idOf(token, 'dora')] });
    assert.ok(group['conversation_id']);
    await cora.row('Choir').click();
    await cora.composer.waitFor();
    await cora.page.keyboard.type('Hello @do');
    await cora.page.locator('[data-test=mention-option]', { hasText: 'Dora Quist' }).waitFor();
    await cora.shot('talk-mention');
    await cora.page.keyboard.press('Enter');
    assert.equal(await cora.composer.inputValue(), 'Hello @dora ');
    await cora.page.keyboard.type('are you in?');
    await cora.page.keyboard.press('Enter');
    await cora.message('are you in?').locator('.mention', { hasText: '@dora' }).waitFor();
    await dora.row('Choir').getByRole('img', { name: 'You were mentioned' }).waitFor();
    await dora.row('Choir').click();
    await dora.message('are you in?').locator('.mention-me').waitFor();
    /* Escape leaves what was written as it is. */
    await dora.composer.fill('');
    await dora.page.keyboard.type('@c');
    await dora.page.locator('[data-test=mention-option]').first().waitFor();
    await dora.page.keyboard.press('Escape');
    await until('nothing is offered', async () => (await dora.page.locator('[data-test=mention-option]').count()) === 0);
    assert.equal(await dora.composer.inputValue(), '@c');
    await cora.close();
    await dora.close();
});

test('talk: emoji are searched and put in by keyboard', async () => {
    const eda = await Person.join(server, 'eda', 'Eda');
    await server.account('fritz', 'Fritz');
    await eda.chatWith('fritz');
    await eda.page.keyboard.type('well done');
    await eda.page.getByRole('button', { name: 'Emoji' }).click();
    await eda.page.locator('.emoji').first().waitFor();
    await eda.shot('talk-emoji');
    await eda.page.keyboard.type('thumbs up');
    await eda.page.getByRole('button', { name: 'thumbs up', exact: true }).waitFor();
    await eda.page.keyboard.press('ArrowDown');
    await eda.page.keyboard.press('Enter');
    await until('it is in the text', async () => /^well done👍/u.test(await eda.composer.inputValue()));
    await eda.page.keyboard.press('Escape');
    await until('the composer has the focus', () => eda.page.evaluate(() => document.activeElement?.tagName === 'TEXTAREA'));
    await eda.page.keyboard.press('Enter');
    await eda.message('well done').waitFor();
    await eda.close();
});

test('talk: a reply to something far back shows it, leads there, and back to the end', async () => {
    const gwen = await Person.join(server, 'gwen', 'Gwen');
    const hugo = await server.account('hugo', 'Hugo');
    const to = { toUserId: await idOf(hugo.token, 'gwen') };
    const first = await server.write(hugo.token, to, 'the very first **thing**');
    for (let i = 1; i <= 340; i++) {
        await server.write(hugo.token, to, `line ${i}`);
    }
    await server.call('POST', '/api/v1/messages', hugo.token, { ...to, content: 'as I said', reply_to: first['message_id'] });
    await gwen.row('Hugo').click();
    await gwen.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await gwen.message('as I said').waitFor();
    const quote = gwen.message('as I said').getByRole('button', { name: 'In reply to Hugo' });
    await quote.filter({ hasText: 'the very first thing' }).waitFor();
    await quote.click();
    await until('the first message is in sight', () => shows(gwen, 'the very first thing'));
    assert.equal(await gwen.message('as I said').count(), 0, 'the end is not loaded any more');
    await gwen.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await until('the end is in sight', () => shows(gwen, 'as I said'));
    /* A link to a message opens it, in a new page too. */
    const conv = /#\/c\/([0-9a-f]+)/.exec(gwen.page.url())?.[1] ?? '';
    await gwen.page.evaluate((hash) => (location.hash = hash), `#/c/${conv}/200`);
    await until('the linked message is in sight', () => shows(gwen, 'line 198'));
    await gwen.page.reload();
    await gwen.live();
    await until('it is in sight again', () => shows(gwen, 'line 198'));
    await gwen.close();
});

test('talk: what is looked at stays to the pixel while pages come before and after it', async () => {
    const ida = await Person.join(server, 'ida', 'Ida');
    const jon = await server.account('jon', 'Jon');
    const to = { toUserId: await idOf(jon.token, 'ida') };
    const row = (i: number) => (i % 7 === 0 ? `**row ${i}**\nwith a second line\n- and a point` : `row ${i} ${'and on '.repeat(i % 23)}`);
    await server.write(jon.token, to, row(1));
    for (let i = 2; i <= 560; i += 13) {
        await Promise.all(Array.from({ length: 13 }, (_, k) => server.write(jon.token, to, row(i + k))));
    }
    await ida.row('Jon').click();
    await ida.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await until('it is at the end', () => ida.page.evaluate(() => {
        const el = document.querySelector('[data-test=messages]');
        return el !== null && document.querySelector('[data-seq="561"]') !== null && el.scrollHeight - el.scrollTop - el.clientHeight < 2;
    }));
    /* Steps up and down through everything. Between steps, whatever is loaded, the message in the
     * middle may not move; measured once loading rests. */
    const jumps = await ida.page.evaluate(async () => {
        const box = document.querySelector<HTMLElement>('[data-test=messages]') ?? document.body;
        const frame = () => new Promise((done) => requestAnimationFrame(done));
        const middle = () => {
            const { top, height } = box.getBoundingClientRect();
            return [...document.querySelectorAll<HTMLElement>('[data-seq]')].find((r) => r.getBoundingClientRect().bottom > top + height / 2);
        };
        let most = 0;
        let nodes = 0;
        let loads = 0;
        for (const way of [-1, 1, -1]) {
            for (let i = 0; i < 400; i++) {
                box.scrollTop += way * 450;
                const row = middle();
                const seq = row?.dataset['seq'];
                const was = row?.getBoundingClientRect().top ?? 0;
                const before = box.querySelectorAll('[data-seq]').length;
                const ends = [box.querySelector<HTMLElement>('[data-seq]')?.dataset['seq'], before].join();
                await frame();
                await frame();
                for (let n = 0; n < 200 && document.querySelector('.spinner-over'); n++) {
                    await frame();
                }
                const now = box.querySelector<HTMLElement>(`[data-seq="${seq}"]`);
                most = Math.max(most, now ? Math.abs(now.getBoundingClientRect().top - was) : Infinity);
                nodes = Math.max(nodes, document.querySelectorAll('[data-seq]').length);
                loads += ends === [box.querySelector<HTMLElement>('[data-seq]')?.dataset['seq'], box.querySelectorAll('[data-seq]').length].join() ? 0 : 1;
                if (way < 0 ? box.scrollTop < 2 : box.scrollHeight - box.scrollTop - box.clientHeight < 2) {
                    break;
                }
            }
        }
        return { most, nodes, loads };
    });
    assert.ok(jumps.loads > 20, `${jumps.loads} pages were put in`);
    assert.ok(jumps.most < 1, `what was looked at moved by ${jumps.most} px`);
    assert.ok(jumps.nodes <= 300, `${jumps.nodes} messages in the page`);
    /* What has left the window is gone from memory too. */
    const inPage = await ida.page.evaluate(() => {
        const walker = document.createTreeWalker(document);
        let n = 1;
        while (walker.nextNode()) {
            n++;
        }
        return n;
    });
    const inMemory = await nodesInMemory(ida);
    assert.ok(inMemory < inPage * 1.5, `${inMemory} nodes in memory, ${inPage} in the page`);
    await ida.close();
});

test('talk: who came and what the group was called, when scrolling back; who has read a message', async () => {
    const kim = await Person.join(server, 'kimm', 'Kim');
    const token = await server.token('kimm');
    const lea = await server.account('lea', 'Lea');
    const mia = await server.account('mia', 'Mia');
    const group = String((await server.call('POST', '/api/v1/groups', token, { name: 'Old name', member_ids: [lea.id] }))['conversation_id']);
    const to = { conversation_id: group };
    await server.call('POST', `/api/v1/groups/${group}/members`, token, { user_ids: [mia.id] });
    await server.call('PATCH', `/api/v1/groups/${group}`, token, { name: 'New name' });
    for (let i = 1; i <= 130; i++) {
        await server.write(lea.token, to, `note ${i}`);
    }
    const said = await server.write(token, to, 'mine, to be read');
    /* A new browser has nothing of it: all comes from history. */
    const other = await Person.open(server, 'kimm', 'Kim');
    await other.page.goto(server.url);
    await other.signIn();
    await other.row('New name').click();
    await other.message('mine, to be read').waitFor();
    for (let i = 0; i < 20 && !(await shows(other, 'note 1')); i++) {
        await other.page.locator('[data-test=messages]').evaluate((el) => (el.scrollTop = 0));
        await other.page.waitForFunction(() => !document.querySelector('.spinner-over'));
    }
    await other.page.locator('[data-test=note]', { hasText: 'You added Mia' }).waitFor();
    await other.page.locator('[data-test=note]', { hasText: 'You named the group “New name”' }).waitFor();
    await other.page.locator('[data-test=note]', { hasText: 'You created the group' }).waitFor();
    await server.call('POST', `/api/v1/conversations/${group}/read`, lea.token, { seq: said['seq'] });
    await other.page.getByRole('button', { name: 'Jump to the latest' }).click();
    await menu(other, 'mine, to be read', 'Message info');
    const dialog = other.page.getByRole('dialog');
    await dialog.getByText('Read by 1 of 2').waitFor();
    await dialog.locator('[data-test=reader]', { hasText: 'Lea' }).waitFor();
    await dialog.locator('[data-test=reader]', { hasText: 'Mia' }).waitFor();
    await other.shot('talk-readers');
    await kim.close();
    await other.close();
});

test('talk: typing is seen, drafts survive, several messages are taken at once', async () => {
    const nan = await Person.join(server, 'nan', 'Nan');
    const oli = await Person.join(server, 'oli', 'Oli');
    await nan.chatWith('oli');
    for (const text of ['first of these', 'second of these', 'third of these']) {
        await nan.say(text);
    }
    await oli.row('Nan').click();
    await oli.message('third of these').waitFor();
    await until('typing is seen', async () => {
        await nan.page.keyboard.type('hm ');
        return (await oli.page.locator('[data-test=head-note]').textContent()) === 'typing…';
    });
    await nan.composer.fill('a thought that is not fini');
    await nan.page.reload();
    await nan.live();
    await until('the draft is there', async () => (await nan.composer.inputValue()) === 'a thought that is not fini');
    /* Picked by the other button of the mouse, then by keyboard. */
    await oli.message('first of these').locator('.bubble').click({ button: 'right' });
    await oli.page.getByRole('menuitem', { name: 'Select messages' }).click();
    await oli.message('third of these').click();
    await oli.page.getByRole('toolbar').getByText('2 messages selected').waitFor();
    await oli.shot('talk-picked');
    await oli.page.getByRole('toolbar').getByRole('button', { name: 'Delete for me' }).click();
    await oli.page.getByRole('alertdialog').getByText('2 messages disappear').waitFor();
    await oli.confirm('Delete for me');
    await until('two are gone', async () => (await oli.page.locator('[data-test=message]').count()) === 1);
    await oli.message('second of these').waitFor();
    assert.equal(await nan.page.locator('[data-test=message]').count(), 3);
    await nan.close();
    await oli.close();
});

test('talk: an answer or a change that was begun waits with its conversation, and outlives a reload', async () => {
    const vic = await Person.join(server, 'vic', 'Vic');
    const wes = await server.account('wes', 'Wes');
    const xia = await server.account('xia', 'Xia');
    const me = { toUserId: await idOf(wes.token, 'vic') };
    const asked = await server.write(wes.token, me, 'what time?');
    await server.write(xia.token, me, 'elsewhere');
    const { page } = vic;
    const away = async (): Promise<void> => {
        await vic.row('Xia').click();
        await vic.message('elsewhere').waitFor();
        assert.equal(await page.locator('.composer-mode').count(), 0, 'not here');
        assert.equal(await vic.composer.inputValue(), '');
        await vic.row('Wes').click();
    };
    const reload = async (): Promise<void> => {
        await page.reload();
        await vic.live();
    };
    const begun = (title: string, text: string): Promise<void> =>
        until(`${title}, ${text}`, async () =>
            (await page.locator('.composer-mode').getByText(title).count()) === 1 && (await vic.composer.inputValue()) === text);
    const menu = async (text: string, item: string): Promise<void> => {
        await vic.message(text).first().locator('.bubble').click({ button: 'right' });
        await page.getByRole('menuitem', { name: item }).click();
    };
    await vic.row('Wes').click();
    await menu('what time?', 'Reply');
    await vic.composer.fill('about');
    await away();
    await begun('Replying to Wes', 'about');
    await reload();
    await begun('Replying to Wes', 'about');
    await vic.say('about nien');
    await vic.message('about nien').getByRole('button', { name: 'In reply to Wes' }).waitFor();
    await vic.status('about nien', 'Sent');

    await menu('about nien', 'Edit');
    await vic.composer.fill('about nine');
    await away();
    await begun('Editing your message', 'about nine');
    await reload();
    await begun('Editing your message', 'about nine');
    /* A change that cannot be made is not lost. */
    await vic.context.setOffline(true);
    await vic.composer.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'cannot be reached' }).waitFor();
    await begun('Editing your message', 'about nine');
    await vic.context.setOffline(false);
    await vic.live();
    await vic.composer.press('Enter');
    await vic.message('about nine').getByText('edited', { exact: true }).waitFor();
    assert.equal(await page.locator('.composer-mode').count(), 0);
    await reload();
    await vic.message('about nine').waitFor();
    assert.equal(await page.locator('.composer-mode').count(), 0, 'done with');

    /* What was to be answered has gone meanwhile: what was written stays. */
    await menu('what time?', 'Reply');
    await vic.composer.fill('it is');
    await vic.row('Xia').click();
    await vic.message('elsewhere').waitFor();
    await server.call('DELETE', `/api/v1/messages/${String(asked['message_id'])}?for=everyone`, wes.token);
    await vic.row('Wes').click();
    await page.getByRole('alert').filter({ hasText: 'not there any more' }).waitFor();
    assert.equal(await page.locator('.composer-mode').count(), 0);
    assert.equal(await vic.composer.inputValue(), 'it is');
    await vic.close();
});

test('talk: a long press opens the menu of a message on a phone', async () => {
    const pia = await Person.join(server, 'pia', 'Pia', { phone: true });
    const qui = await server.account('qui', 'Qui');
    await server.write(qui.token, { toUserId: await idOf(qui.token, 'pia') }, 'press me');
    await pia.row('Qui').click();
    const at = await pia.message('press me').locator('.bubble').boundingBox();
    assert.ok(at);
    const touch = await pia.context.newCDPSession(pia.page);
    await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x: at.x + 20, y: at.y + 12 }] });
    await pia.page.getByRole('menuitem', { name: 'Reply' }).waitFor();
    await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
    await pia.shot('talk-press');
    await pia.page.getByRole('menuitem', { name: 'Reply' }).click();
    await pia.page.getByText('Replying to Qui').waitFor();
    await pia.close();
});
