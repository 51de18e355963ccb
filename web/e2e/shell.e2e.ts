/*
 * The shell around conversations: the list, settings, administration, languages, notifications, the
 * page as an app. Desktop and phone, light and dark; axe on every screen.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { accessible, fits } from './axe.js';
import { closeBrowser, type Look, PASSWORD, Person, Server, until } from './harness.js';

/* Of the package ws; Node before 22 has none of its own. */
const Sockets = createRequire(import.meta.url)('ws') as new (url: string) => {
    onopen: () => void;
    onmessage: (e: { data: unknown }) => void;
    send(text: string): void;
    close(): void;
};

const server = new Server();
let admin: Person;
before(async () => {
    await server.start();
    const setup = server.takeSetup();
    admin = await Person.open(server, 'chief', 'Chief Administrator');
    await admin.signUp(setup === undefined ? undefined : `#setup=${setup}`);
    server.adopt('chief');
});
after(async () => {
    /* What the page of the administrator had to say comes last: nothing else may stay for it. */
    const closed = await admin.close().catch((e: unknown) => e);
    await closeBrowser();
    await server.end();
    assert.ifError(closed);
});

async function idOf(username: string): Promise<string> {
    return String((await server.call('GET', `/api/v1/users/${username}`, await server.token(username)))['user_id']);
}

async function open(p: Person, hash: string, heading: string): Promise<void> {
    await p.page.evaluate((h) => (location.hash = h), hash);
    await p.page.getByRole('heading', { name: heading, exact: true, level: 3 }).waitFor();
}

const looks: [string, Look][] = [
    ['desktop-light', {}],
    ['desktop-dark', { dark: true }],
    ['phone-light', { phone: true }],
    ['phone-dark', { phone: true, dark: true }],
];

for (const [name, look] of looks) {
    test(`shell: settings on ${name}`, async () => {
        const p = await Person.join(server, `set${name.replace('-', '')}`, 'Settled Person', look);
        for (const [section, heading] of [
            ['profile', 'Profile'],
            ['devices', 'Devices'],
            ['privacy', 'Privacy'],
            ['notifications', 'Notifications'],
            ['appearance', 'Appearance and language'],
        ] as const) {
            await open(p, `#/settings/${section}`, heading);
            if (section === 'devices') {
                await p.page.locator('[data-test=device]').first().waitFor();
            }
            await accessible(p, `settings/${section}`);
            await fits(p, `settings/${section}`);
            await p.shot(`${name}-settings-${section}`);
        }
        if (look.phone) {
            await p.page.getByRole('link', { name: 'Back to conversations' }).click();
            await p.page.getByText('No conversations yet').waitFor();
        }
        await p.close();
    });
}

test('shell: name and line are the same for others; the password changes after the present one', async () => {
    const p = await Person.join(server, 'nora', 'Nora');
    await open(p, '#/settings/profile', 'Profile');
    await p.page.getByLabel('Your name').fill('Nora of the North');
    await p.page.getByLabel('About you').fill('Mostly outdoors');
    await p.page.getByRole('button', { name: 'Save', exact: true }).click();
    await p.page.locator('[data-test=me]', { hasText: 'Nora of the North' }).waitFor();
    const seen = await server.call('GET', '/api/v1/users/nora', await server.token('chief'));
    assert.deepEqual([seen['display_name'], seen['about']], ['Nora of the North', 'Mostly outdoors']);

    await p.page.getByLabel('Present password').fill('not-the-one-93');
    await p.page.getByLabel('New password').fill('another-harbour-17');
    p.tolerated.push(/status of 403/);
    await p.page.getByRole('button', { name: 'Change password' }).click();
    await p.page.getByText('That is not your present password.').waitFor();
    await p.page.getByLabel('Present password').fill(PASSWORD);
    await p.page.getByRole('button', { name: 'Change password' }).click();
    await p.page.getByText('The password is changed.').waitFor();
    await server.call('POST', '/api/v1/tokens', undefined, { username: 'nora', password: 'another-harbour-17' });
    await p.close();
});

test('shell: what is typed about oneself stays when the account comes later', async () => {
    const p = await Person.open(server, 'olaf', 'Olaf');
    let release = (): void => undefined;
    const held = new Promise<void>((done) => (release = done));
    await p.page.route('**/api/v1/users/*', async (route) => {
        await held;
        await route.continue();
    });
    await p.signUp();
    await open(p, '#/settings/profile', 'Profile');
    await p.page.getByLabel('About you').fill('Mostly indoors');
    release();
    await p.page.getByText('@olaf').waitFor();
    await p.page.locator('[data-test=me]', { hasText: 'Olaf' }).waitFor();
    assert.equal(await p.page.getByLabel('Your name').inputValue(), 'Olaf');
    assert.equal(await p.page.getByLabel('About you').inputValue(), 'Mostly indoors');
    await p.page.getByRole('button', { name: 'Save', exact: true }).click();
    await p.page.getByText('Saved').waitFor();
    const seen = await server.call('GET', '/api/v1/users/olaf', await server.token('chief'));
    assert.deepEqual([seen['display_name'], seen['about']], ['Olaf', 'Mostly indoors']);
    await p.close();
});

test('shell: a device is renamed and signed out from another one', async () => {
    const first = await Person.join(server, 'dora', 'Dora');
    const second = await Person.open(server, 'dora', 'Dora');
    await second.page.goto(server.url);
    await second.signIn();
    await open(first, '#/settings/devices', 'Devices');
    const cards = first.page.locator('[data-test=device]');
    await until('two devices', async () => (await cards.count()) === 2);
    const other = cards.filter({ hasNotText: 'This device' });
    await other.getByRole('button', { name: 'Rename' }).click();
    await first.page.getByLabel('Name of the device').fill('The old tablet');
    await first.page.getByRole('button', { name: 'Save', exact: true }).click();
    await cards.getByText('The old tablet').waitFor();
    second.tolerated.push(/status of 401/);
    await other.getByRole('button', { name: 'Sign out The old tablet' }).click();
    await accessible(first, 'the question before a sign-out');
    await first.confirm('Sign out');
    await until('one device', async () => (await cards.count()) === 1);
    await second.page.getByText('Your session has ended').waitFor();
    await first.close();
    await second.close();
});

test('shell: language and theme are chosen here, for all tabs, and last', async () => {
    const p = await Person.join(server, 'lena', 'Lena');
    const tab = await p.context.newPage();
    await tab.goto(server.url);
    await tab.locator('[data-link=live]').waitFor({ state: 'attached' });
    await open(p, '#/settings/appearance', 'Appearance and language');
    await p.page.getByLabel('Theme').selectOption('dark');
    assert.equal(await p.page.evaluate(() => document.documentElement.dataset['theme']), 'dark');
    await p.page.getByRole('combobox', { name: 'Language' }).selectOption('ar');
    await p.page.getByRole('heading', { name: 'المظهر واللغة' }).waitFor();
    assert.equal(await p.page.evaluate(() => document.documentElement.dir), 'rtl');
    await accessible(p, 'settings in Arabic');
    await fits(p, 'settings in Arabic');
    await p.shot('settings-arabic');
    await until('the other tab follows', () => tab.evaluate(() => document.documentElement.lang === 'ar' && document.documentElement.dataset['theme'] === 'dark'));
    await p.page.reload();
    await p.page.getByRole('heading', { name: 'المظهر واللغة' }).waitFor();
    await p.page.getByRole('combobox', { name: 'اللغة' }).selectOption('de');
    await p.page.getByRole('heading', { name: 'Aussehen und Sprache' }).waitFor();
    await p.close();
});

test('shell: the list finds conversations and people, and has a menu for each row', async () => {
    const p = await Person.join(server, 'luis', 'Luis');
    const a = await server.account('amal', 'Amal Haddad');
    await server.account('amber', 'Amber Stone');
    await server.write(a.token, { toUserId: await idOf('luis') }, 'Good morning');
    await p.row('Amal Haddad').waitFor();
    await p.page.getByRole('searchbox', { name: 'Search conversations' }).fill('am');
    await p.page.locator('[data-test=person]', { hasText: 'Amber' }).waitFor();
    await p.row('Amal').waitFor();
    assert.equal(await p.page.locator('[data-test=person]', { hasText: 'Amal' }).count(), 0, 'not twice');
    await accessible(p, 'search');
    await p.shot('search');
    await p.page.locator('[data-test=person]', { hasText: 'Amber' }).click();
    await p.say('Hello Amber');
    await p.page.getByRole('searchbox', { name: 'Search conversations' }).press('Escape');
    await p.row('Amber').waitFor();
    await p.row('Amal').click({ button: 'right' });
    await accessible(p, 'menu of a row');
    await p.page.getByRole('menuitem', { name: 'Mute', exact: true }).click();
    await p.row('Amal').getByRole('img', { name: 'Muted' }).waitFor();
    await p.row('Amal').focus();
    await p.page.keyboard.press('Shift+F10');
    await p.page.getByRole('menuitem', { name: 'Pin' }).click();
    await p.row('Amal').getByRole('img', { name: 'Pinned' }).waitFor();
    await until('pinned ones come first', async () => (await p.page.locator('[data-test=conversation]').first().innerText()).includes('Amal'));
    await open(p, '#/settings/notifications', 'Notifications');
    await p.page.locator('[data-test=muted]', { hasText: 'Amal' }).getByRole('button', { name: 'Unmute' }).click();
    await until('muted no more', async () => (await p.page.locator('[data-test=muted]').count()) === 0);
    await p.close();
});

test('shell: of 1,000 conversations only those in sight are in the page', async () => {
    const p = await Person.join(server, 'many', 'Many Friends');
    const token = await server.token('many');
    const make = (i: number): Promise<unknown> =>
        server.call('POST', '/api/v1/groups', token, { name: `Group number ${i}`, member_ids: [] });
    await make(1);
    for (let i = 2; i < 1000; i += 20) {
        await Promise.all(Array.from({ length: Math.min(20, 1000 - i) }, (_, k) => make(i + k)));
    }
    await make(1000);
    await p.row('Group number 1000').waitFor();
    const rows = p.page.locator('[data-test=conversation]');
    await until('all are there', async () => (await p.page.locator('.rows [aria-setsize]').first().getAttribute('aria-setsize')) === '1000');
    assert.ok((await rows.count()) < 40, `${await rows.count()} rows in the page`);

    /* Through all of it: the place that is seen is never empty, and what is there stays where it belongs. */
    const list = p.page.locator('.rows');
    const look = (): Promise<{ nodes: number; rows: number; covered: boolean; off: number; end: boolean }> =>
        list.evaluate((el) => {
            const box = el.getBoundingClientRect();
            const all = [...el.querySelectorAll<HTMLElement>('a.row')].map((r) => ({ at: Number(r.dataset['at']), box: r.getBoundingClientRect() }));
            const seen = all.filter((r) => r.box.bottom > box.top && r.box.top < box.bottom).sort((a, b) => a.at - b.at);
            const [one, last] = [seen[0], seen.at(-1)];
            const high = one && last && last.at > one.at ? (last.box.top - one.box.top) / (last.at - one.at) : 0;
            return {
                nodes: document.querySelectorAll('*').length,
                rows: all.length,
                covered: one !== undefined && last !== undefined && last.at - one.at + 1 === seen.length
                    && one.box.top <= box.top + high && last.box.bottom >= box.bottom - high,
                off: Math.max(...seen.map((r) => Math.abs(r.box.top - box.top + el.scrollTop - r.at * high))),
                end: el.scrollTop + el.clientHeight >= el.scrollHeight - 1,
            };
        });
    const begun = await look();
    let steps = 0;
    for (let end = false; !end; steps++) {
        await list.evaluate((el) => (el.scrollTop += el.clientHeight * 3));
        await until('the rows are there', async () => (await look()).covered);
        const now = await look();
        assert.ok(now.rows < 40 && now.nodes < begun.nodes + 400, `${now.rows} rows, ${now.nodes} nodes in the page, ${begun.nodes} at first`);
        assert.ok(now.off < 8, `a row is ${now.off} px off`);
        end = now.end;
    }
    assert.ok(steps > 20, `${steps} steps`);
    await list.evaluate((el) => (el.scrollTop = 0));
    await p.row('Group number 1000').waitFor();

    /* By keyboard, further than what is in the page. */
    const at = (n: number): Promise<void> =>
        until(`row ${n} has the focus`, () => p.page.evaluate((i) => document.activeElement?.getAttribute('data-at') === String(i), n));
    await p.row('Group number 1000').focus();
    for (let i = 1; i <= 30; i++) {
        await p.page.keyboard.press('ArrowDown');
        await at(i);
    }
    await p.page.keyboard.press('End');
    await until('the last one has the focus', () =>
        p.page.evaluate(() => /Group number 1$/m.test(document.activeElement?.querySelector('.row-title')?.textContent ?? '')));
    await at(999);
    assert.ok((await rows.count()) < 40);
    await accessible(p, 'a long list');
    await p.page.keyboard.press('ArrowUp');
    await at(998);
    await p.page.keyboard.press('PageUp');
    await p.page.keyboard.press('Home');
    await at(0);
    await p.close();
});

test('shell: a group is renamed, roles change, somebody is removed', async () => {
    const p = await Person.join(server, 'gina', 'Gina');
    const [x, y] = [await server.account('xaver', 'Xaver'), await server.account('yara', 'Yara')];
    const group = await server.call('POST', '/api/v1/groups', await server.token('gina'), { name: 'Choir', member_ids: [x.id, y.id] });
    await p.row('Choir').click();
    await p.page.getByRole('button', { name: 'Members' }).click();
    const dialog = p.page.getByRole('dialog');
    await dialog.locator('[data-test=member]').nth(2).waitFor();
    await dialog.getByLabel('Group name').fill('Evening choir');
    await dialog.getByRole('button', { name: 'Rename' }).click();
    await p.row('Evening choir').waitFor();
    await dialog.getByRole('button', { name: 'Actions for Yara' }).click();
    await accessible(p, 'menu of a member');
    await p.page.getByRole('menuitem', { name: 'Make an admin' }).click();
    await dialog.locator('[data-test=member]', { hasText: 'Yara' }).getByText('Admin').waitFor();
    await p.shot('group-dialog');
    await dialog.getByRole('button', { name: 'Actions for Xaver' }).click();
    await p.page.getByRole('menuitem', { name: 'Remove' }).click();
    await p.page.getByRole('alertdialog').getByText('will not receive messages').waitFor();
    await p.confirm('Remove');
    await until('two are left', async () => (await dialog.locator('[data-test=member]').count()) === 2);
    const members = await server.call('GET', `/api/v1/groups/${String(group['conversation_id'])}/members`, y.token);
    assert.equal((members['members'] as unknown[]).length, 2);
    await p.close();
});

test('shell: administrators see people, invitations, the server and the record', async () => {
    await server.account('otto', 'Otto Ordinary');
    for (const [section, heading] of [
        ['people', 'People'],
        ['invites', 'Invitations'],
        ['server', 'Server'],
        ['audit', 'Record'],
    ] as const) {
        await open(admin, `#/admin/${section}`, heading);
        await admin.page.locator('[data-test=account], [data-test=invite], [data-test=version], [data-test=record]').first().waitFor();
        await accessible(admin, `admin/${section}`);
        await fits(admin, `admin/${section}`);
        await admin.shot(`admin-${section}`);
    }
    await open(admin, '#/admin/people', 'People');
    await admin.page.getByRole('searchbox', { name: 'Search people' }).fill('otto');
    const card = admin.page.locator('[data-test=account]', { hasText: 'Otto Ordinary' });
    await until('only Otto', async () => (await admin.page.locator('[data-test=account]').count()) === 1);
    const pick = async (item: string) => {
        await card.getByRole('button', { name: 'Actions for Otto' }).click();
        await admin.page.getByRole('menuitem', { name: item }).click();
    };
    await pick('Suspend');
    await admin.confirm('Suspend');
    await card.getByText('Suspended').waitFor();
    await assert.rejects(server.token('otto'));
    await pick('Let in again');
    await until('let in again', async () => (await card.getByText('Suspended').count()) === 0);
    await pick('Reset password');
    await admin.confirm('Reset password');
    const password = await card.locator('[data-test=new-password]').inputValue();
    await server.call('POST', '/api/v1/tokens', undefined, { username: 'otto', password });
    await accessible(admin, 'a new password');
    await admin.shot('admin-password');
    await pick('Delete account');
    await admin.confirm('Delete account');
    await until('deleted', async () => (await card.count()) === 0 || (await card.getByText('Deleted').count()) > 0);
});

test('shell: an invitation has a link and a QR code, and ends when it is ended', async () => {
    await open(admin, '#/admin/invites', 'Invitations');
    await admin.page.getByLabel('How many people').selectOption('5');
    await admin.page.getByLabel('Note for yourself').fill('For the neighbours');
    await admin.page.getByRole('button', { name: 'Create link' }).click();
    await admin.page.getByRole('img', { name: 'QR code of the invitation link' }).waitFor();
    const link = new URL(await admin.page.locator('[data-test=invite-link]').inputValue());
    const code = link.hash.replace('#invite=', '');
    await accessible(admin, 'an invitation');
    await admin.shot('admin-invite');
    const check = () => server.call('POST', '/api/v1/invites/check', undefined, { code });
    assert.equal((await check())['valid'], true);
    const card = admin.page.locator('[data-test=invite]', { hasText: 'For the neighbours' });
    await card.getByText('0 of 5 used').waitFor();
    await card.getByRole('button', { name: 'End' }).click();
    await admin.page.getByRole('alertdialog').getByText('Nobody can join').waitFor();
    await admin.confirm('End');
    await card.getByText('Ended').waitFor();
    assert.equal((await check())['valid'], false);
});

test('shell: the server\'s name and who may join are changed', async (t) => {
    /* Those who come after this test need an invitation to be enough, however it ends. */
    t.after(async () => server.call('PATCH', '/api/v1/admin/settings', await server.token('chief'), { registration: 'invite' }));
    await open(admin, '#/admin/server', 'Server');
    await admin.page.getByLabel('Name of the server').fill('Harbour House');
    await admin.page.getByRole('button', { name: 'Save', exact: true }).click();
    await admin.page.getByText('Saved').waitFor();
    await admin.page.getByLabel('New accounts').selectOption('closed');
    await until('closed', async () => (await server.call('GET', '/api/v1/server', undefined))['registration'] === 'closed');
    assert.equal((await server.call('GET', '/api/v1/server', undefined))['name'], 'Harbour House');
    await admin.page.getByLabel('New accounts').selectOption('invite');
    await until('by invitation', async () => (await server.call('GET', '/api/v1/server', undefined))['registration'] === 'invite');
});

test('shell: nobody else gets into the administration', async () => {
    const p = await Person.join(server, 'plain', 'Plain');
    await p.page.evaluate(() => (location.hash = '#/admin/people'));
    await p.page.getByText('This is for administrators.').waitFor();
    await accessible(p, 'no administration');
    await p.close();
});

test('shell: the help sheet and the keys that it names', async () => {
    const p = await Person.join(server, 'kit', 'Kit');
    const a = await server.account('kim', 'Kim');
    const b = await server.account('koa', 'Koa');
    const me = await idOf('kit');
    await server.write(a.token, { toUserId: me }, 'from Kim');
    await server.write(b.token, { toUserId: me }, 'from Koa');
    await p.row('Kim').waitFor();
    await p.row('Koa').waitFor();
    const keys = p.page.keyboard;
    await keys.press('?');
    await p.page.getByRole('heading', { name: 'Keyboard shortcuts' }).waitFor();
    await accessible(p, 'help');
    await p.shot('help');
    await keys.press('Escape');
    await until('closed', async () => (await p.page.getByRole('dialog').count()) === 0);
    await keys.press('Control+k');
    await until('in the search', () => p.page.evaluate(() => document.activeElement?.id === 'search'));
    await keys.type('?');
    assert.equal(await p.page.getByRole('dialog').count(), 0, 'a question mark can be written');
    await keys.press('Escape');
    await keys.press('Alt+ArrowDown');
    await p.message('from Koa').waitFor();
    await keys.press('Alt+ArrowDown');
    await p.message('from Kim').waitFor();
    await keys.press('Control+,');
    await p.page.getByRole('heading', { name: 'Settings', level: 2 }).waitFor();
    await p.close();
});

test('shell: a first visit asks for nothing that is refused', async () => {
    const p = await Person.open(server, 'newcomer', 'Newcomer');
    const refused: string[] = [];
    p.page.on('response', (r) => r.status() >= 400 && refused.push(`${r.status()} ${r.url()}`));
    await p.page.goto(server.url);
    await p.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await p.page.waitForLoadState('networkidle');
    assert.deepEqual(refused, []);
    await p.close();
});

test('shell: it opens without a server, from what the service worker has kept', async (t) => {
    const own = new Server();
    t.after(() => own.end());
    await own.start();
    const p = await Person.join(own, 'solo', 'Solo');
    const friend = await own.account('friend', 'Friend');
    await own.write(friend.token, { toUserId: String((await own.call('GET', '/api/v1/users/solo', friend.token))['user_id']) }, 'kept here');
    await p.row('Friend').click();
    await p.message('kept here').waitFor();
    const ready = await p.page.evaluate(async () => {
        const r = await navigator.serviceWorker.ready;
        const manifest = (await (await fetch('manifest.webmanifest')).json()) as { icons: { src: string }[] };
        const icons = await Promise.all(manifest.icons.map(async (i) => (await fetch(i.src)).headers.get('content-type')));
        return { scope: new URL(r.scope).pathname, icons };
    });
    assert.equal(ready.scope, '/');
    assert.deepEqual(ready.icons, ['image/svg+xml', ...Array.from({ length: 4 }, () => 'image/png')]);
    const kept = await p.page.evaluate(async () => {
        const urls: string[] = [];
        for (const name of await caches.keys()) {
            urls.push(...(await (await caches.open(name)).keys()).map((r) => new URL(r.url).pathname));
        }
        return urls;
    });
    assert.ok(kept.includes('/') && kept.length > 5);
    assert.deepEqual(kept.filter((u) => u.startsWith('/api') || u.startsWith('/ws')), [], 'nothing of the API');
    await own.stop('SIGKILL');
    await p.page.reload();
    await p.row('Friend').waitFor();
    await p.message('kept here').waitFor();
    await p.page.getByText('No connection').first().waitFor();
    /* What was never opened is there too. */
    await p.page.evaluate(() => (location.hash = '#/settings/appearance'));
    await p.page.getByRole('combobox', { name: 'Language' }).selectOption('ja');
    await p.page.getByRole('heading', { name: '表示と言語' }).waitFor();
    /* A try while it is down changes nothing; once it is up the page may be there before any click. */
    await p.page.getByRole('button', { name: '今すぐ再試行' }).click();
    await p.row('Friend').waitFor();
    await own.start();
    await p.live();
    await p.close();
});

test('shell: messages elsewhere are told, with the number; not the muted ones, not when it is quiet', async () => {
    const p = await Person.open(server, 'nils', 'Nils');
    await p.context.grantPermissions(['notifications'], { origin: new URL(server.url).origin });
    await p.context.addInitScript(() => {
        const told: string[] = [];
        Object.assign(window, { told });
        ServiceWorkerRegistration.prototype.showNotification = (title, options) => {
            told.push(`${title}: ${options?.body ?? ''}`);
            return Promise.resolve();
        };
        Object.assign(navigator, { setAppBadge: (n: number) => Promise.resolve(Object.assign(window, { badge: n })) });
    });
    await p.signUp();
    await p.page.evaluate(() => navigator.serviceWorker.ready);
    const told = () => p.page.evaluate(() => [...(window as unknown as { told: string[] }).told]);
    const a = await server.account('tilda', 'Tilda');
    const b = await server.account('urs', 'Urs');
    const me = await idOf('nils');
    await server.write(a.token, { toUserId: me }, 'one');
    await p.row('Tilda').waitFor();
    await until('told', async () => (await told()).includes('Tilda: one'));
    await until('in the title', async () => (await p.page.title()) === '(1) Confab');
    assert.equal(await p.page.evaluate(() => (window as unknown as { badge: number }).badge), 1);
    await server.write(b.token, { toUserId: me }, 'two');
    await until('told', async () => (await told()).includes('Urs: two'));
    await p.row('Urs').click({ button: 'right' });
    await p.page.getByRole('menuitem', { name: 'Mute', exact: true }).click();
    await p.row('Urs').getByRole('img', { name: 'Muted' }).waitFor();
    await server.write(b.token, { toUserId: me }, 'muted');
    await server.write(a.token, { toUserId: me }, 'three');
    await until('the next one', async () => (await told()).includes('Tilda: three'));
    assert.equal((await told()).length, 3, 'the muted one is not told');
    await open(p, '#/settings/notifications', 'Notifications');
    await p.page.getByRole('switch', { name: 'Show the text' }).uncheck();
    await server.write(a.token, { toUserId: me }, 'hidden');
    await until('without its text', async () => (await told()).includes('Tilda: New message'));
    await p.page.getByRole('switch', { name: 'Do not disturb' }).check();
    /* From an hour ago until in two, whatever the time is. */
    const hour = await p.page.evaluate(() => new Date().getHours());
    const time = (h: number) => `${String((h + 24) % 24).padStart(2, '0')}:00`;
    await p.page.getByLabel('From').fill(time(hour - 1));
    await p.page.getByLabel('To', { exact: true }).fill(time(hour + 2));
    const before = (await told()).length;
    await server.write(a.token, { toUserId: me }, 'at night');
    await p.row('Tilda').getByText('at night').waitFor();
    assert.equal((await told()).length, before);
    await accessible(p, 'notification settings');
    await p.close();
});

test('shell: the list shows who types, and for how long', async (t) => {
    const p = await Person.join(server, 'tess', 'Tess');
    const a = await server.account('tom', 'Tom');
    await server.write(a.token, { toUserId: await idOf('tess') }, 'wait');
    await p.row('Tom').getByText('wait').waitFor();
    /* Somebody without a page: only what is typed comes from there. */
    const socket = new Sockets(new URL('/ws', server.url.replace('http', 'ws')).href);
    t.after(() => socket.close());
    const hello = new Promise<void>((done) => {
        socket.onmessage = (e) => String(e.data).includes('"hello"') && done();
    });
    socket.onopen = () => socket.send(JSON.stringify({ event: 'auth', token: a.token }));
    await hello;
    const me = await idOf('tess');
    await p.row('Tom').locator('[data-test=dot][data-status=online]').waitFor();
    /* Until the server knows that the row is on the screen; it passes one on every 3 s. An end among
     * them could be passed on last. */
    const typing = p.row('Tom').locator('[data-test=typing]');
    await until('it is shown', async () => {
        socket.send(JSON.stringify({ event: 'typing', to: me }));
        return (await typing.allInnerTexts()).includes('typing…');
    });
    await accessible(p, 'somebody types');
    await p.shot('typing');
    await server.write(a.token, { toUserId: me }, 'here it is');
    await p.row('Tom').getByText('here it is').waitFor();
    assert.equal(await typing.count(), 0);
    await p.close();
});

test('shell: a draft of another device stands in the list', async () => {
    const p = await Person.join(server, 'dean', 'Dean');
    const a = await server.account('dot', 'Dot');
    const sent = await server.write(a.token, { toUserId: await idOf('dean') }, 'and you?');
    await p.row('Dot').getByText('and you?').waitFor();
    const path = `/api/v1/conversations/${String(sent['conversation_id'])}`;
    await server.call('PATCH', path, await server.token('dean'), { draft: 'I was about to say' });
    await p.row('Dot').getByText('I was about to say').waitFor();
    await p.row('Dot').getByText('Draft').waitFor();
    await p.close();
});
