/*
 * Random histories: people write, edit, delete, join, leave, read; connections are cut at any
 * point, clients fall behind and are told to resync, or start anew from what they stored. However it
 * went, at the end every client shows what the server has, and no message is stored twice.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Device, SeededRandom, settle, World } from '../mocks/index.js';
import { MemoryStores } from '../store/memory.js';

const SEEDS = Number(process.env['CONFAB_WEB_SEEDS'] ?? '200');
const USERS = ['1', '2', '3'];

async function history(seed: number, large: boolean): Promise<void> {
    const world = new World(seed);
    const { server } = world;
    server.large = large;
    const random = new SeededRandom(seed ^ 0x5eed);
    for (const u of USERS) {
        server.addUser(u);
    }
    const groups = [server.createGroup('1', ['2'], 'Group')];
    const devices = USERS.map((u) => world.device(u, new MemoryStores()));
    devices.push(world.device('1', new MemoryStores())); /* a second one of the same person */
    await Promise.all(devices.map((d) => d.signIn()));
    let words = 0;
    let written = 0;
    const steps = 60 + random.below(120);
    for (let i = 0; i < steps; i++) {
        const d = random.pick(devices);
        const convs = d.client.conversations();
        const group = random.pick(groups);
        switch (random.below(16)) {
            case 0:
            case 1:
            case 2:
            case 3:
                if (convs.length > 0) {
                    d.client.send({ conversation: random.pick(convs).id }, `word ${++words}`);
                    written++;
                }
                break;
            case 4: {
                const other = random.pick(USERS.filter((u) => u !== d.user));
                d.client.send({ user: other }, `word ${++words}`);
                written++;
                break;
            }
            case 5: {
                const seq = 1 + random.below(Math.max(server.head(group), 1));
                server.edit(group, seq, `edited ${++words}`);
                break;
            }
            case 6:
                server.remove(group, 1 + random.below(Math.max(server.head(group), 1)));
                break;
            case 7:
                server.add(group, '1', '3');
                break;
            case 8:
                if (convs.length > 0) {
                    const c = random.pick(convs);
                    d.client.markRead(c.id, c.head);
                }
                break;
            case 9:
                server.cut();
                break;
            case 10:
                if (random.chance(0.5)) {
                    server.resync();
                } else {
                    server.busy = random.below(3);
                }
                break;
            case 11:
                if (groups.length < 4 && random.chance(0.3)) {
                    groups.push(server.createGroup('2', ['1', '3'], `Group ${groups.length}`));
                } else {
                    server.rename(group, '1', `Name ${++words}`);
                }
                break;
            case 12:
                server.pin(group, d.user, random.chance(0.5));
                break;
            case 13:
                if (server.head(group) > 0) {
                    server.hide(group, '1', 1 + random.below(server.head(group)));
                }
                break;
            case 14: {
                /* The tab is closed, with or without the latest being written; another opens. */
                const k = devices.indexOf(d);
                if (random.chance(0.3)) {
                    await d.client.stop();
                    const again = new Device(world, d.user, d.stores);
                    devices[k] = again;
                    await again.signIn();
                }
                break;
            }
            case 15:
                await world.clock.pass(random.below(3000));
                break;
        }
        for (let n = random.below(6); n > 0; n--) {
            server.step();
        }
        await settle();
    }
    server.busy = 0;
    await world.rest(() => devices.every((d) => d.client.link === 'live'));

    for (const d of devices) {
        const shown = d.client.conversations();
        assert.equal(d.client.link, 'live');
        assert.equal(d.client.unsent, 0, 'everything was sent');
        for (const conv of server.conversations.values()) {
            const m = conv.members.get(d.user);
            const c = shown.find((s) => s.id === conv.id);
            const what = `${conv.kind} of user ${d.user}`;
            assert.equal(c !== undefined, m?.active === true, `${what} is in the list`);
            if (!c || !m) {
                continue;
            }
            assert.equal(c.head, server.head(conv.id), `${what}: head`);
            assert.equal(c.name, conv.kind === 'group' ? conv.name : '', `${what}: name`);
            assert.equal(c.unread, server.unread(conv.id, d.user), `${what}: unread`);
            assert.equal(c.unsure, false, `${what}: unread is no guess`);
            assert.equal(c.memberCount, conv.members.size, `${what}: members`);
            assert.equal(c.pinned, server.selfLogs.get(d.user)?.pinned.get(conv.id) === true);
            const latest = server.visible(conv.id, d.user).filter(([, text]) => !text.startsWith('(')).at(-1)?.[0] ?? 0;
            /* What only counters told of has not come. */
            assert.ok(m.delivered >= latest || (large && conv.kind === 'group'), `${what}: delivered was told`);
            assert.equal(m.read, Math.max(c.own.read, m.read), `${what}: read was told`);
            const want = server.visible(conv.id, d.user);
            assert.deepEqual(await d.read(conv.id), want, `${what}: messages`);
            if (conv.kind === 'direct') {
                const other = USERS.find((u) => u === c.with);
                assert.ok(other !== undefined && other !== d.user, `${what}: with`);
            }
        }
    }
    assert.equal(server.stored.size, written, 'every message was stored');
    for (const [cmid, n] of server.stored) {
        assert.equal(n, 1, `message ${cmid} was stored once`);
    }
    for (const d of devices) {
        await d.client.stop();
    }
}

const only = process.env['CONFAB_WEB_SEED'];
const first = only === undefined ? 1 : Number(only);
const last = only === undefined ? SEEDS : Number(only);
for (let low = first; low <= last; low += 10) {
    const high = Math.min(low + 9, last);
    void test(`sync: random histories of seeds ${low} to ${high}`, async () => {
        for (let seed = low; seed <= high; seed++) {
            try {
                await history(seed, false);
                await history(seed, true);
            } catch (e) {
                throw new Error(`CONFAB_WEB_SEED=${seed}`, { cause: e });
            }
        }
    });
}

void test('sync: a sign-in that ended leaves the outbox to the next one, in the same tab too', async () => {
    const world = new World(1);
    world.server.addUser('1');
    world.server.addUser('2');
    const d = world.device('1');
    await d.signIn();
    await world.rest(() => d.client.link === 'live');
    world.server.down = true;
    world.server.cut();
    d.client.send({ user: '2' }, 'kept');
    await settle();
    assert.equal(d.client.unsent, 1);
    await d.signIn(); /* as after a 401 */
    assert.equal(d.client.unsent, 1);
    world.server.down = false;
    await world.rest(() => d.client.link === 'live');
    assert.equal(d.client.unsent, 0);
    assert.deepEqual([...world.server.stored.values()], [1]);
});
