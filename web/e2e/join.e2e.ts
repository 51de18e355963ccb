/* From an empty server to two people: the first administrator's link, an invitation, coming back. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { closeBrowser, PASSWORD, Person, Server, until } from './harness.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

test('join: the first one sets the server up and invites the second', async () => {
    const setup = server.takeSetup();
    assert.ok(setup !== undefined, 'the server prints a link for the first administrator');
    const first = await Person.open(server, 'first', 'First Person');
    await first.page.goto(`${server.url}#setup=${setup}`);
    await first.page.getByRole('heading', { name: 'Set up this server' }).waitFor();
    await first.shot('setup');
    await first.signUp(`#setup=${setup}`);
    await first.page.getByRole('button', { name: 'Menu', exact: true }).click();
    await first.page.getByRole('menuitem', { name: 'Invite people' }).click();
    await first.page.getByRole('button', { name: 'Create link' }).click();
    const link = await first.page.locator('[data-test=invite-link]').inputValue();
    assert.match(link, /#invite=/);
    await first.shot('invite');

    const second = await Person.open(server, 'second', 'Second Person');
    await second.page.goto(`${server.url}${new URL(link).hash}`);
    await second.page.getByRole('heading', { name: /^Join / }).waitFor();
    await second.shot('join');
    await second.signUp(new URL(link).hash);
    assert.equal(await second.page.evaluate(() => location.hash.includes('invite')), false, 'the code is gone');
    await second.page.getByRole('button', { name: 'Menu', exact: true }).click();
    assert.equal(await second.page.getByRole('menuitem', { name: 'Invite people' }).count(), 0);
    await second.page.keyboard.press('Escape');
    await second.chatWith('first');
    await second.say('I am in');
    await first.page.keyboard.press('Escape');
    await first.row('Second Person').waitFor();
    await first.close();
    await second.close();
});

test('join: what is lacking for an account is said, where it is lacking', async () => {
    const p = await Person.open(server, 'third', 'Third');
    await p.toSignUp();
    const create = p.page.getByRole('button', { name: 'Create account' });
    const [username, password] = [p.page.getByLabel('Username'), p.page.getByLabel('Password')];
    for (const [box, other, next] of [[username, password, 'third'], [password, username, 'short'], [password, username, PASSWORD]] as const) {
        await create.click();
        await until('it has the focus', () => box.evaluate((e) => e === document.activeElement));
        assert.deepEqual([await box.getAttribute('aria-invalid'), await other.getAttribute('aria-invalid')], ['true', 'false']);
        await box.fill(next);
    }
    await create.click();
    await p.live();
    await p.close();
});

test('join: who comes back is signed in, and no script sees what does that', async () => {
    const p = await Person.join(server, 'back', 'Back Again');
    const seen = await p.page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage }));
    assert.doesNotMatch(seen, /cfr_|eyJ/);
    const cookies = await p.context.cookies();
    assert.deepEqual(cookies.map((c) => [c.name, c.httpOnly, c.sameSite]), [['confab_refresh', true, 'Strict']]);
    await p.page.reload();
    await p.live();
    await p.close();
});

test('join: a link that is not valid says so and leaves a way in', async () => {
    const p = await Person.open(server, 'none', 'None');
    await p.page.goto(`${server.url}#invite=not-a-code`);
    await p.page.getByText('This invitation is not valid any more').waitFor();
    await p.page.getByLabel('Username').waitFor();
    await p.shot('invite-bad');
    await p.close();
});
