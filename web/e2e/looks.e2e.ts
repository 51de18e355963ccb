/* How it looks and for whom it works: phone and desktop, light and dark, keyboard only, axe. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits } from './axe.js';
import { closeBrowser, type Look, Person, Server, until } from './harness.js';
import { Proxy } from './proxy.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

async function people(prefix: string, look: Look): Promise<Person> {
    const p = await Person.open(server, `${prefix}me`, 'Marguerite Okonkwo', look);
    const invite = await server.invite();
    await p.page.goto(server.url);
    await p.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await accessible(p, 'sign in');
    await p.shot(`${prefix}-sign-in`);
    await p.page.goto(`${server.url}${invite === undefined ? '' : `#invite=${invite}`}`);
    if (invite === undefined) {
        await p.page.getByRole('button', { name: 'Create an account' }).click();
    }
    await p.page.getByLabel('Your name').waitFor();
    await accessible(p, 'sign up');
    await p.shot(`${prefix}-sign-up`);
    await fits(p, 'sign up');
    await p.signUp(invite === undefined ? undefined : `#invite=${invite}`);
    await p.page.getByText('No conversations yet').waitFor();
    await accessible(p, 'empty list');
    await p.shot(`${prefix}-empty`);
    return p;
}

/* Conversations of all sorts: long names, long words, groups, unread ones. */
async function populate(p: Person, prefix: string): Promise<void> {
    const me = String((await server.call('GET', `/api/v1/users/${p.username}`, await server.token(p.username)))['user_id']);
    const cast: [string, string, string[]][] = [
        [`${prefix}rosa`, 'Rosa Lindqvist', ['Did you see the forecast?', 'Rain until Thursday, then sun. We could move the walk to Friday afternoon.', 'Or we go anyway and take good shoes.']],
        [`${prefix}emil`, 'Emil', ['ok']],
        [`${prefix}long`, 'Wolfeschlegelsteinhausenbergerdorff the Third of Somewhere', ['Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft_and_a_word_without_any_break_that_goes_on_and_on_and_on']],
        [`${prefix}omar`, 'عمر حداد', ['مرحبا، كيف حالك؟ هل نلتقي يوم الجمعة؟']],
        [`${prefix}yuki`, '佐藤 由紀', ['明日の会議は十時からです。']],
    ];
    const tokens: { token: string; id: string }[] = [];
    for (const [username, name, texts] of cast) {
        const a = await server.account(username, name);
        tokens.push(a);
        for (const text of texts) {
            await server.write(a.token, { toUserId: me }, text);
        }
    }
    const [rosa, emil] = tokens;
    assert.ok(rosa && emil);
    const group = await server.call('POST', '/api/v1/groups', rosa.token, { name: 'Saturday walking club', member_ids: [me, emil.id] });
    const to = { conversation_id: String(group['conversation_id']) };
    await server.write(rosa.token, to, 'Welcome, everybody! First walk: along the river to the old mill, about two hours.');
    await server.write(rosa.token, to, 'Map: https://example.org/walks/river-mill?stage=1');
    await server.write(emil.token, to, 'Count me in.');
    await p.row('Saturday walking club').waitFor();
    await p.row('由紀').waitFor();
    await until('names are there', async () => !(await p.page.locator('.rows').innerText()).includes('Someone'));
}

for (const look of [{}, { dark: true }, { phone: true }, { phone: true, dark: true }] satisfies Look[]) {
    const name = `${'phone' in look ? 'phone' : 'desktop'}-${'dark' in look ? 'dark' : 'light'}`;
    test(`looks: every screen on ${name}`, async () => {
        const prefix = name.replace('-', '');
        const p = await people(prefix, look);
        await populate(p, prefix);
        await accessible(p, 'list');
        await fits(p, 'list');
        await p.shot(`${prefix}-list`);
        await p.row('Saturday walking club').click();
        await p.message('Count me in').waitFor();
        await p.say('Me too. Shall I bring the thermos?');
        await p.message('thermos').waitFor();
        await p.message('Count me in').hover();
        await p.message('Count me in').getByRole('button', { name: 'Message actions' }).click();
        await accessible(p, 'message menu');
        const menu = await p.page.getByRole('menu').boundingBox();
        const wide = p.page.viewportSize()?.width ?? 0;
        assert.ok(menu && menu.x >= 0 && menu.x + menu.width <= wide, 'the menu is inside the page');
        await p.shot(`${prefix}-menu`);
        await p.page.getByRole('menuitem', { name: 'Reply' }).click();
        await p.composer.fill('Good. That makes four of us.\nAnd the dog.');
        await accessible(p, 'group');
        await fits(p, 'group');
        await p.shot(`${prefix}-group`);
        await p.composer.press('Enter');
        await p.message('And the dog').waitFor();
        await p.page.getByRole('button', { name: 'Members' }).click();
        await p.page.locator('[data-test=member]').nth(2).waitFor();
        await accessible(p, 'members');
        await p.shot(`${prefix}-members`);
        await p.page.keyboard.press('Escape');
        if (look && 'phone' in look) {
            await p.page.getByRole('link', { name: 'Back' }).click();
        }
        await p.row('Wolfe').click();
        await p.message('Donau').waitFor();
        await fits(p, 'long word');
        await p.shot(`${prefix}-long`);
        if (look && 'phone' in look) {
            await p.page.getByRole('link', { name: 'Back' }).click();
            await p.page.locator('.pane').waitFor({ state: 'hidden' }); // one pane at a time
        }
        await p.row('عمر').click();
        await p.message('مرحبا').waitFor();
        await p.shot(`${prefix}-arabic`);
        if (look && 'phone' in look) {
            await p.page.getByRole('link', { name: 'Back' }).click();
        }
        await p.page.getByRole('button', { name: 'New chat' }).click();
        await p.page.getByRole('searchbox', { name: 'Search by name' }).fill(`${prefix}rosa`);
        await p.page.locator('[data-test=person]').first().waitFor();
        await accessible(p, 'new chat');
        await p.shot(`${prefix}-new-chat`);
        await p.close();
    });
}

for (const [locale, signIn, direction] of [
    ['de-AT', 'Anmelden', 'ltr'],
    ['es-MX', 'Entrar', 'ltr'],
    ['ar-EG', 'تسجيل الدخول', 'rtl'],
    ['ja-JP', 'ログイン', 'ltr'],
    ['pt-BR', 'Sign in', 'ltr'],
] as const) {
    test(`looks: a browser that asks for ${locale} gets its language and direction`, async () => {
        const p = await Person.open(server, 'nobody', 'Nobody', { locale, phone: true });
        await p.page.goto(server.url);
        await p.page.getByRole('heading', { name: signIn }).waitFor();
        const [lang, dir] = await p.page.evaluate(() => [document.documentElement.lang, document.documentElement.dir]);
        assert.deepEqual([lang, dir], [signIn === 'Sign in' ? 'en' : locale.slice(0, 2), direction]);
        await accessible(p, `sign in, ${locale}`);
        await fits(p, `sign in, ${locale}`);
        await p.shot(`language-${locale}`);
        await p.close();
    });
}

test('looks: from 320 px on, and with text twice as large', async () => {
    const p = await Person.join(server, 'tiny', 'Tiny');
    await p.page.setViewportSize({ width: 320, height: 560 });
    await populate(p, 'tiny');
    await fits(p, 'list at 320 px');
    await p.row('Saturday').click();
    await p.message('Count me in').waitFor();
    await fits(p, 'conversation at 320 px');
    await p.shot('tiny-320');
    await p.page.setViewportSize({ width: 640, height: 480 });
    await p.page.evaluate(() => (document.documentElement.style.fontSize = '30px'));
    await fits(p, 'at 200 %');
    await p.close();
});

/* What people call themselves and their groups, and write, who have no use for spaces. */
const WORD = 'Rindfleischetikettierungsueberwachungsaufgabenuebertragungsgesetz';
const URL_LONG = `https://example.org/${'a-path-without-end/'.repeat(12)}?and=${'x'.repeat(120)}`;

async function withLongWords(p: Person, prefix: string): Promise<void> {
    const token = await server.token(p.username);
    const me = String((await server.call('GET', `/api/v1/users/${p.username}`, token))['user_id']);
    const a = await server.account(`${prefix}${'w'.repeat(32 - prefix.length)}`, WORD.slice(0, 64));
    const b = await server.account(`${prefix}b`, 'B');
    await server.write(b.token, { toUserId: me }, 'k');
    const sent = await server.write(a.token, { toUserId: me }, `${WORD.repeat(4)}`);
    await server.call('POST', '/api/v1/messages', token, { toUserId: a.id, content: WORD.repeat(2), reply_to: sent['message_id'] });
    await server.write(a.token, { toUserId: me }, URL_LONG);
    await server.write(a.token, { toUserId: me }, `\`${WORD.repeat(2)}\`\n\n\`\`\`\n${'const x = 1; '.repeat(20)}\n\`\`\`\n> ${WORD.repeat(3)}\n- ${WORD.repeat(3)}`);
    const group = await server.call('POST', '/api/v1/groups', token, { name: `${WORD}${WORD}`.slice(0, 100), member_ids: [a.id, b.id] });
    const to = { conversation_id: String(group['conversation_id']) };
    await server.write(a.token, to, `@${p.username} ${WORD.repeat(2)}`);
    await server.write(b.token, to, 'ok');
    await p.page.locator('[data-test=conversation]').nth(2).waitFor();
    await until('names are there', async () => !(await p.page.locator('.rows').innerText()).includes('Someone'));
}

/* Of what is in the page nothing is wider than it, unless it ends in an ellipsis or can be scrolled by itself. */
async function nothingSticksOut(p: Person, where: string): Promise<void> {
    const wide = await p.page.evaluate(() => {
        const cut = (el: Element | null): boolean =>
            el !== null && (getComputedStyle(el).textOverflow === 'ellipsis' || el.matches('.unseen, .sections-nav') || cut(el.parentElement));
        return [...document.querySelectorAll<HTMLElement>('body *')]
            .filter((el) => {
                const r = el.getBoundingClientRect();
                return r.width > 0 && (r.right > innerWidth + 0.5 || r.left < -0.5) && !cut(el.parentElement) && !cut(el);
            })
            .map((el) => `${el.tagName}.${el.className}: ${el.textContent?.slice(0, 60) ?? ''}`);
    });
    assert.deepEqual(wide, [], where);
    await fits(p, where);
}

for (const width of [320, 1180, 2560]) {
    test(`looks: words and names without a break at ${width} px`, async () => {
        const prefix = `w${width}`;
        const p = await Person.join(server, `${prefix}me`, 'Me', { phone: width < 700 });
        await p.page.setViewportSize({ width, height: width < 700 ? 568 : width < 2000 ? 760 : 1300 });
        await withLongWords(p, prefix);
        await nothingSticksOut(p, 'list');
        await p.shot(`words-${width}-list`);
        const back = async (): Promise<void> => {
            if (width < 700) {
                await p.page.getByRole('link', { name: 'Back' }).click();
            }
        };
        await p.row(WORD.slice(0, 64)).filter({ hasNotText: 'B: ok' }).click();
        await p.message(URL_LONG.slice(0, 40)).waitFor();
        await p.composer.fill(WORD.repeat(5));
        await nothingSticksOut(p, 'messages');
        await accessible(p, 'messages');
        await p.shot(`words-${width}-messages`);
        await p.message(URL_LONG.slice(0, 40)).locator('.meta').click({ button: 'right' });
        await p.page.getByRole('menuitem', { name: 'Message info' }).click();
        await p.page.getByRole('dialog').waitFor();
        await nothingSticksOut(p, 'info');
        await p.shot(`words-${width}-info`);
        await p.page.keyboard.press('Escape');
        await back();
        await p.row('B: ok').click();
        await p.message('ok').waitFor();
        await p.message(WORD).hover();
        await p.message(WORD).getByRole('button', { name: 'Message actions' }).click();
        await p.page.getByRole('menuitem', { name: 'Reply' }).click();
        await nothingSticksOut(p, 'group');
        await p.shot(`words-${width}-group`);
        await p.page.getByRole('button', { name: 'Members' }).click();
        await p.page.locator('[data-test=member]').nth(2).waitFor();
        await nothingSticksOut(p, 'members');
        await p.shot(`words-${width}-members`);
        await p.page.keyboard.press('Escape');
        await back();
        await p.page.getByRole('button', { name: 'New chat' }).click();
        await p.page.getByRole('searchbox', { name: 'Search by name' }).fill(prefix);
        await p.page.locator('[data-test=person]').nth(1).waitFor();
        await nothingSticksOut(p, 'new chat');
        await p.shot(`words-${width}-new-chat`);
        await p.close();
    });
}

for (const look of [{ dark: true }, { phone: true }] satisfies Look[]) {
    const name = 'phone' in look ? 'phone' : 'desktop';
    test(`looks: right to left on ${name}`, async () => {
        const p = await Person.join(server, `rtl${name}`, 'Salma', look);
        await populate(p, `r${name.slice(0, 2)}`);
        await p.page.evaluate(() => (location.hash = '#/settings/appearance'));
        await p.page.getByRole('combobox', { name: 'Language' }).selectOption('ar');
        await p.page.getByRole('heading', { name: 'المظهر واللغة' }).waitFor();
        /* How far it is from either side of what it is in. */
        const box = async (selector: string, inside = 'body'): Promise<{ left: number; right: number }> => {
            const b = await p.page.locator(selector).first().boundingBox();
            const o = await p.page.locator(inside).first().boundingBox();
            assert.ok(b && o, selector);
            return { left: b.x - o.x, right: o.x + o.width - b.x - b.width };
        };
        await p.page.evaluate(() => (location.hash = '#/settings/notifications'));
        await p.page.locator('.switch').first().waitFor();
        const control = await box('.switch input', '.pane');
        assert.ok(control.left < control.right, 'a switch is left of its label');
        await nothingSticksOut(p, 'settings');
        await accessible(p, 'settings');
        await p.shot(`rtl-${name}-settings`);
        await p.page.evaluate(() => (location.hash = '#/'));
        await p.row('Saturday').waitFor();
        await p.shot(`rtl-${name}-list`);
        const when = await box('[data-test=conversation] time', '[data-test=conversation]');
        assert.ok(when.left < when.right, 'the time is at the left of its row');
        await p.row('Saturday').click();
        await p.message('Count me in').waitFor();
        const composer = p.page.locator('.composer textarea');
        await composer.fill('أراكم يوم السبت، إن شاء الله!');
        await composer.press('Enter');
        await p.message('أراكم').waitFor();
        await p.message('Count me in').click({ button: 'right' });
        await p.page.getByRole('menuitem').first().waitFor();
        await nothingSticksOut(p, 'menu');
        await p.shot(`rtl-${name}-menu`);
        await p.page.getByRole('menuitem').first().click();
        await composer.fill('وسأحضر الشاي ☕ والكعك');
        for (const [what, selector, side] of [
            ['own messages', '.mine .bubble', 'left'],
            ['those of others', '.theirs .bubble', 'right'],
            ['what sends', '.send', 'left'],
            ['the way back, or the picture', '.pane .bar .avatar', 'right'],
        ] as const) {
            const at = await box(selector, '.pane');
            assert.equal(at.left < at.right ? 'left' : 'right', side, what);
        }
        if (name === 'desktop') {
            assert.ok((await box('.rows')).right < (await box('.pane')).right, 'the list is at the right');
        }
        await nothingSticksOut(p, 'messages');
        await accessible(p, 'messages');
        await p.shot(`rtl-${name}-messages`);
        await p.close();
    });
}

for (const dark of [false, true]) {
    const name = dark ? 'dark' : 'light';
    test(`looks: what is empty and what went wrong, ${name}, and twice as large`, async (t) => {
        const proxy = await new Proxy(server).start();
        t.after(() => proxy.end());
        const p = await Person.open(server, `bad${name}`, 'Unlucky', { dark, at: proxy.url });
        p.tolerated.push(/status of 502/);
        await p.signUp();
        await p.page.getByText('No conversations yet').waitFor();
        await p.shot(`bad-${name}-none`);
        const friend = await server.account(`bad${name}friend`, 'Friend');
        await p.chatWith(`bad${name}friend`);
        await p.page.getByText('first message').or(p.page.locator('.list-first')).first().waitFor();
        await accessible(p, 'nothing written');
        await p.shot(`bad-${name}-first`);
        await p.say('hello');
        await p.status('hello', 'Sent');
        const search = p.page.getByRole('searchbox', { name: 'Search conversations' });
        await search.fill('nobody at all');
        await p.page.getByText('Nobody of that name').first().waitFor();
        await accessible(p, 'nothing found');
        await p.shot(`bad-${name}-search`);
        await search.fill('');
        /* The other one takes no messages any more. */
        const me = String((await server.call('GET', `/api/v1/users/${p.username}`, friend.token))['user_id']);
        await server.call('PUT', `/api/v1/blocks/${me}`, friend.token);
        await p.say('are you there?');
        await p.page.getByRole('button', { name: 'Discard' }).waitFor();
        proxy.setApi(false);
        await p.page.locator('[data-link=offline], [data-link=connecting]').waitFor({ state: 'attached' });
        await p.page.getByText('No connection').first().waitFor();
        await p.say('waits');
        await p.page.locator('[data-test=outgoing]').getByRole('img', { name: 'Waiting to be sent' }).waitFor();
        await accessible(p, 'failed and waiting');
        await p.shot(`bad-${name}-failed`);
        /* What a zoom of 200 % leaves of the room. */
        await p.page.setViewportSize({ width: 590, height: 380 });
        await nothingSticksOut(p, 'at 200 %');
        assert.ok(await p.composer.isVisible());
        const room = await p.page.locator('[data-test=messages]').boundingBox();
        assert.ok(room && room.height >= 120, `${room?.height} px are left for messages`);
        await p.shot(`bad-${name}-zoom`);
        await p.page.getByRole('button', { name: 'Discard' }).click();
        await nothingSticksOut(p, 'a question at 200 %');
        await accessible(p, 'a question at 200 %');
        await p.shot(`bad-${name}-zoom-question`);
        await p.confirm('Discard');
        await until('it is gone', async () => (await p.page.getByRole('button', { name: 'Discard' }).count()) === 0);
        await p.close();
    });
}

test('looks: everything by keyboard alone', async () => {
    const kay = await Person.open(server, 'kay', 'Kay');
    const invite = await server.invite();
    await kay.page.goto(`${server.url}${invite === undefined ? '' : `#invite=${invite}`}`);
    if (invite === undefined) {
        const create = kay.page.getByRole('button', { name: 'Create an account' });
        await create.waitFor();
        await create.focus();
        await kay.page.keyboard.press('Enter');
    }
    await kay.page.getByLabel('Your name').waitFor();
    const keys = kay.page.keyboard;
    const active = (): Promise<string> =>
        kay.page.evaluate(() => {
            const el = document.activeElement;
            return el === document.body ? '' : (el?.getAttribute('aria-label') ?? el?.textContent?.trim() ?? '');
        });
    const tabTo = async (label: string): Promise<void> => {
        for (let i = 0; i < 40; i++) {
            if ((await active()).includes(label)) {
                return;
            }
            await keys.press('Tab');
        }
        throw new Error(`Tab does not reach "${label}"`);
    };
    await kay.page.getByLabel('Your name').focus();
    await keys.type('Kay');
    await keys.press('Tab');
    await keys.type('kay');
    await keys.press('Tab');
    await keys.type('plum-harbour-violet-93');
    await keys.press('Enter');
    await kay.live();
    const ned = await server.account('ned', 'Ned');
    await tabTo('New chat');
    await keys.press('Enter');
    await kay.page.getByRole('dialog').waitFor();
    await keys.type('ned');
    await kay.page.locator('[data-test=person]').first().waitFor();
    await tabTo('Ned');
    await keys.press('Enter');
    await kay.composer.waitFor();
    await until('the composer has the focus', async () => (await active()) === 'Message');
    await keys.type('typed, not clicked');
    await keys.press('Shift+Enter');
    await keys.type('second line');
    await keys.press('Enter');
    await kay.message('second line').waitFor();
    /* To the message, its menu, and back. */
    await until('a message has the focus', async () => {
        await keys.press('Shift+Tab');
        return kay.page.evaluate(() => document.activeElement?.matches('li.message') ?? false);
    });
    await keys.press('Enter');
    await kay.page.getByRole('menu').waitFor();
    await keys.press('ArrowDown');
    await keys.press('Escape');
    await until('the menu is closed', async () => (await kay.page.getByRole('menu').count()) === 0);
    /* Arrow up in an empty composer edits the last message; Escape leaves. */
    await kay.composer.focus();
    await keys.press('ArrowUp');
    await until('it is being edited', async () => (await kay.composer.inputValue()).startsWith('typed'));
    await keys.press('End');
    await keys.type(', edited');
    await keys.press('Enter');
    await kay.message('edited').first().getByText('edited', { exact: true }).waitFor();
    /* Between conversations. */
    const rob = await server.account('rob', 'Rob');
    await server.write(rob.token, { toUserId: String((await server.call('GET', '/api/v1/users/kay', rob.token))['user_id']) }, 'Hello Kay');
    await kay.row('Rob').waitFor();
    assert.match((await kay.page.locator('[data-test=announcer]').textContent()) ?? '', /Hello Kay/);
    await kay.row('Rob').focus();
    await keys.press('ArrowDown');
    assert.match(await active(), /Ned/);
    await keys.press('ArrowUp');
    await keys.press('Enter');
    await kay.message('Hello Kay').waitFor();
    assert.ok(ned.id);
    await kay.close();
});
