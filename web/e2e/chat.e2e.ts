/* Two and three people in their browsers: signing up, chatting, ticks, unread counts, groups. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible } from './axe.js';
import { closeBrowser, Person, Server, until } from './harness.js';

const server = new Server();
before(async () => void (await server.start()));
after(async () => {
    await closeBrowser();
    await server.end();
});

test('chat: two people sign up, write, and see ticks and unread counts', async () => {
    const ada = await Person.join(server, 'ada', 'Ada Lovelace');
    await ada.shot('empty-list');
    const bob = await Person.join(server, 'bob', 'Bob Marsh');

    await ada.chatWith('bob');
    await ada.say('Hello Bob, are you there?');
    await ada.message('Hello Bob').waitFor();
    await bob.row('Ada Lovelace').locator('[data-test=unread]', { hasText: '1' }).waitFor();
    assert.equal(await bob.page.title(), '(1) Confab');
    await ada.status('Hello Bob', 'Delivered');

    await bob.row('Ada Lovelace').click();
    await bob.message('Hello Bob').waitFor();
    await ada.status('Hello Bob', 'Read');
    await until('nothing is unread', async () => (await bob.page.locator('[data-test=unread]').count()) === 0);

    await bob.say('Yes! Reading https://example.org/a(b)c. Nice.');
    await ada.message('Reading').waitFor();
    const link = ada.message('Reading').getByRole('link');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a(b)c');
    assert.equal(await link.getAttribute('rel'), 'noopener noreferrer nofollow');
    await bob.status('Reading', 'Read');
    await ada.say('A second line\nbelow the first');
    await bob.message('below the first').waitFor();
    await bob.shot('chat-light');
    await ada.close();
    await bob.close();
});

test('chat: one tick while the other one is away, two when his device has it', async () => {
    const eve = await Person.join(server, 'eve', 'Eve');
    const away = await server.account('away', 'Far Away');
    await eve.chatWith('away');
    await eve.say('Sent only');
    await eve.status('Sent only', 'Sent');
    assert.equal(await eve.row('Far Away').getByRole('img', { name: 'Sent', exact: true }).count(), 1);
    const other = await Person.open(server, 'away', 'Far Away');
    await other.page.goto(server.url);
    await other.signIn();
    await eve.status('Sent only', 'Delivered');
    await other.row('Eve').click();
    await eve.status('Sent only', 'Read');
    assert.ok(away.id);
    await eve.close();
    await other.close();
});

test('chat: reply, edit and delete, for everyone and for me', async () => {
    const kim = await Person.join(server, 'kim', 'Kim');
    const lou = await Person.join(server, 'lou', 'Lou');
    await kim.chatWith('lou');
    await kim.say('Lunch at twelve?');
    await lou.row('Kim').click();
    const menu = async (p: Person, text: string, item: string): Promise<void> => {
        await p.message(text).hover();
        await p.message(text).getByRole('button', { name: 'Message actions' }).click();
        await p.page.getByRole('menuitem', { name: item }).click();
    };
    await lou.message('Lunch').waitFor();
    await menu(lou, 'Lunch', 'Reply');
    await lou.say('Make it one');
    await kim.message('Make it one').getByRole('button', { name: 'In reply to' }).waitFor();
    await menu(kim, 'You: Lunch', 'Edit');
    await kim.say('Supper at one!');
    await lou.message('Supper at one!').first().getByText('edited').waitFor();
    await lou.shot('reply-edit');
    /* First a question, which is answered by Escape, and gives the focus back. */
    const focus = (): Promise<string> => kim.page.evaluate(() => {
        const el = document.activeElement;
        return el?.getAttribute('aria-label') ?? el?.textContent ?? '';
    });
    const question = kim.page.getByRole('alertdialog', { name: 'Delete for everyone' });
    await menu(kim, 'You: Supper', 'Delete for everyone');
    await question.getByText('will only see that there was a message').waitFor();
    await until('the focus is in it', async () => (await focus()) === 'Cancel');
    await accessible(kim, 'the question before deleting');
    await kim.shot('delete-question');
    await kim.page.keyboard.press('Tab');
    await until('the focus goes on', async () => (await focus()) === 'Delete for everyone');
    await kim.page.keyboard.press('Escape');
    await until('there is no question', async () => (await question.count()) === 0);
    await until('the focus is back', async () => (await focus()) === 'Message actions');
    assert.equal(await kim.message('Supper').getByText('This message was deleted').count(), 0);
    await menu(kim, 'You: Supper', 'Delete for everyone');
    await kim.confirm('Cancel');
    await until('there is no question', async () => (await question.count()) === 0);
    assert.equal(await kim.message('You: Supper').count(), 1, 'still there');
    await menu(kim, 'You: Supper', 'Delete for everyone');
    await kim.confirm('Delete for everyone');
    await lou.message('This message was deleted').first().waitFor();
    await menu(lou, 'Make it one', 'Delete for me');
    await lou.confirm('Delete for me');
    await until('it is gone for Lou', async () => (await lou.message('Make it one').count()) === 0);
    await until('the focus is on another', () => lou.page.evaluate(() => document.activeElement?.className.startsWith('message ') ?? false));
    assert.equal(await kim.message('Make it one').count(), 1);
    await kim.close();
    await lou.close();
});

test('chat: a group with members, a name, and somebody added later', async () => {
    const gus = await Person.join(server, 'gus', 'Gus');
    const hal = await Person.join(server, 'hal', 'Hal');
    const ivy = await Person.join(server, 'ivy', 'Ivy');
    await gus.page.getByRole('button', { name: 'Menu', exact: true }).click();
    await gus.page.getByRole('menuitem', { name: 'New group' }).click();
    await gus.page.getByLabel('Group name').fill('Walking club');
    await gus.page.getByRole('searchbox', { name: 'Search by name' }).fill('hal');
    await gus.page.locator('[data-test=person]', { hasText: '@hal' }).click();
    await gus.shot('new-group');
    await gus.page.getByRole('button', { name: 'Create', exact: true }).click();
    await gus.page.getByRole('heading', { name: 'Walking club' }).waitFor();
    await gus.say('Saturday at nine, at the gate.');
    await hal.row('Walking club').locator('[data-test=unread]').waitFor();
    await hal.row('Walking club').click();
    await hal.message('Saturday at nine').waitFor();
    await gus.status('Saturday at nine', 'Read');

    await gus.page.getByRole('button', { name: 'Members' }).click();
    await gus.page.locator('[data-test=member]', { hasText: 'Hal' }).waitFor();
    await gus.shot('members');
    await gus.page.getByRole('button', { name: 'Add people' }).click();
    await gus.page.getByRole('searchbox', { name: 'Search by name' }).fill('ivy');
    await gus.page.locator('[data-test=person]', { hasText: '@ivy' }).click();
    await gus.page.getByRole('button', { name: 'Add', exact: true }).click();
    await ivy.row('Walking club').click();
    await ivy.message('Saturday at nine').waitFor();
    await ivy.say('I am coming too');
    await hal.message('I am coming too').getByText('Ivy').first().waitFor();
    await hal.page.getByText('Gus added Ivy').waitFor();
    await hal.say('Good.');
    await hal.say('Bring a map, please.');
    await gus.message('Bring a map').waitFor();
    await gus.shot('group-light');

    await ivy.page.getByRole('button', { name: 'Members' }).click();
    await ivy.page.getByRole('button', { name: 'Leave group' }).click();
    await ivy.confirm('Leave group');
    await gus.page.getByText('Ivy left').waitFor();
    await until('it is not in her list', async () => (await ivy.row('Walking club').count()) === 0);
    for (const p of [gus, hal, ivy]) {
        await p.close();
    }
});

test('chat: mute and pin are kept, and seen in a second tab', async () => {
    const pia = await Person.join(server, 'pia', 'Pia');
    const quin = await server.account('quin', 'Quin');
    const rex = await server.account('rex', 'Rex');
    const me = await pia.server.call('GET', '/api/v1/users/pia', rex.token);
    await server.write(quin.token, { toUserId: String(me['user_id']) }, 'First');
    await server.write(rex.token, { toUserId: String(me['user_id']) }, 'Second');
    await pia.row('Quin').click();
    await pia.page.getByRole('button', { name: 'Conversation menu' }).click();
    await pia.page.getByRole('menuitem', { name: 'Pin' }).click();
    await pia.row('Quin').getByRole('img', { name: 'Pinned' }).waitFor();
    await pia.page.getByRole('button', { name: 'Conversation menu' }).click();
    await pia.page.getByRole('menuitem', { name: 'Mute' }).click();
    await pia.row('Quin').getByRole('img', { name: 'Muted' }).waitFor();
    const titles = await pia.page.locator('.row-title').allTextContents();
    assert.deepEqual(titles, ['Quin', 'Rex']);
    await pia.close();
});
