/* How it looks and for whom it works: phone and desktop, light and dark, keyboard only, axe. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, fits } from './axe.js';
import { closeBrowser, type Look, Person, Server, until } from './harness.js';

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
            assert.equal(await p.page.locator('.pane').isVisible(), false, 'one pane at a time');
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
