/* What waits in several tabs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Device, FakeTabs, settle, World } from '../mocks/index.js';
import { MemoryStores } from '../store/memory.js';

interface Tab {
    device: Device;
    /* It is closed, or reloaded. */
    end: () => void;
}

/* A browser in which user 1 has tabs, and a conversation with user 2. */
class Browser {
    readonly world: World;
    readonly conv: string;
    private readonly stores = new MemoryStores();
    private readonly tabs: FakeTabs;

    constructor(seed: number) {
        this.world = new World(seed);
        this.world.server.addUser('1');
        this.world.server.addUser('2');
        this.conv = this.world.server.direct('1', '2').id;
        this.tabs = new FakeTabs(this.world.clock);
    }

    async tab(): Promise<Tab> {
        const tab = this.tabs.open();
        const device = this.world.device('1', this.stores, tab);
        await device.signIn();
        await settle();
        return { device, end: tab.end };
    }

    async online(...tabs: Tab[]): Promise<void> {
        this.world.server.down = false;
        await this.world.rest(() => tabs.every(({ device: { client } }) => client.link === 'live' && client.unsent === 0));
    }

    offline(): void {
        const { server } = this.world;
        server.down = true;
        while (server.connections.length > 0) {
            server.cut();
        }
    }

    shown({ device }: Tab): [string, string][] {
        return device.client.outgoing(this.conv, '2').map(({ entry, state }) => [entry.content, state]);
    }

    async write({ device }: Tab, text: string, target = { conversation: this.conv }): Promise<void> {
        device.client.send(target, text);
        await this.world.clock.pass(5);
    }
}

const messages = async (t: Tab, conv: string): Promise<string[]> => (await t.device.read(conv)).map(([, text]) => text);

void test('elsewhere: what waits is shown in every tab, in the order in which it was written', async () => {
    const b = new Browser(1);
    const [one, two] = [await b.tab(), await b.tab()];
    await b.online(one, two);
    b.offline();
    await b.write(one, 'first');
    await b.write(two, 'second');
    await b.write(one, 'third');
    for (const t of [one, two, await b.tab()]) {
        assert.deepEqual(b.shown(t), [['first', 'queued'], ['second', 'queued'], ['third', 'queued']]);
        assert.equal(t.device.client.unsent, 3, 'whoever signs out is asked about all of it');
    }
    await b.online(one, two);
    for (const t of [one, two]) {
        assert.deepEqual(b.shown(t), []);
        assert.deepEqual((await messages(t, b.conv)).sort(), ['first', 'second', 'third']);
    }
    assert.deepEqual([...b.world.server.stored.values()], [1, 1, 1]);
});

void test('elsewhere: all tabs are loaded anew, and the other one comes first', async () => {
    const b = new Browser(2);
    const before = [await b.tab(), await b.tab()];
    await b.online(...before);
    b.offline();
    for (const text of ['first', 'second']) {
        await b.write(before[0] as Tab, text);
    }
    before.forEach((t) => t.end());
    const after = [await b.tab(), await b.tab()];
    for (const t of after) {
        assert.deepEqual(b.shown(t), [['first', 'queued'], ['second', 'queued']]);
    }
    await b.online(...after);
    for (const t of after) {
        assert.deepEqual([b.shown(t), await messages(t, b.conv)], [[], ['first', 'second']]);
    }
    assert.deepEqual([...b.world.server.stored.values()], [1, 1]);
});

void test('elsewhere: both have taken it over at once: it is stored once, and is gone from both', async () => {
    for (let seed = 10; seed < 30; seed++) {
        const b = new Browser(seed);
        const first = await b.tab();
        await b.online(first);
        b.offline();
        await b.write(first, 'first');
        first.end();
        const after = await Promise.all([b.tab(), b.tab()]);
        after.forEach((t) => assert.deepEqual(b.shown(t), [['first', 'queued']]));
        await b.online(...after);
        for (const t of after) {
            assert.deepEqual([b.shown(t), await messages(t, b.conv)], [[], ['first']], `seed ${seed}`);
        }
        assert.deepEqual([...b.world.server.stored.values()], [1]);
    }
});

void test('elsewhere: what was refused in one tab is tried again, or taken back, in another', async () => {
    const b = new Browser(3);
    const [one, two] = [await b.tab(), await b.tab()];
    await b.online(one, two);
    b.world.server.busy = 16;
    await b.write(one, 'first');
    await b.world.rest(() => b.shown(two)[0]?.[1] === 'failed');
    await b.write(one, 'second');
    await b.world.rest(() => b.shown(two)[1]?.[1] === 'failed');
    assert.deepEqual(b.shown(two), b.shown(one));
    const [first, second] = two.device.client.outgoing(b.conv, '2').map(({ entry }) => entry.clientMsgId);
    two.device.client.retrySend(first ?? '');
    assert.equal(two.device.client.dropSend(second ?? ''), true);
    await b.online(one, two);
    for (const t of [one, two, await b.tab()]) {
        assert.deepEqual([b.shown(t), await messages(t, b.conv)], [[], ['first']]);
    }
    assert.deepEqual([...b.world.server.stored.values()], [1]);
});

void test('elsewhere: sent by another tab, it is to be seen until the message itself is here', async () => {
    const b = new Browser(4);
    const [one, two] = [await b.tab(), await b.tab()];
    await b.online(one, two);
    b.offline();
    await b.write(one, 'first');
    const late = two.device.sockets;
    late.down = true;
    await b.online(one);
    assert.deepEqual(b.shown(two), [['first', 'sending']]);
    assert.equal(two.device.client.unsent, 0);
    late.down = false;
    await b.online(one, two);
    assert.deepEqual([b.shown(two), await messages(two, b.conv)], [[], ['first']]);
});
